"""How long tests wait for what comes by itself."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

_SECONDS: Final = 30
"""Far longer than anything takes, and far shorter than a test may."""


@contextlib.asynccontextmanager
async def patience(what: str) -> AsyncIterator[None]:
    """Let what is awaited inside take its time; past all patience, fail with what did not come."""
    limit = asyncio.timeout(_SECONDS)
    try:
        async with limit:
            yield
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise AssertionError(f"{what}: not after {_SECONDS} seconds") from error
