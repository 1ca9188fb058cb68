"""Statements exported as files."""

import functools
from collections.abc import AsyncGenerator
from typing import Final

from wallets_service import statements
from wallets_service.documents import Document
from wallets_service.repository.histories import Head
from wallets_service.statements import Period, Position
from wallets_service.turns import Turns

LINES_PER_CHUNK: Final = 500


async def chunks(
    turns: Turns, account: Head, period: Period, start: Position, document: Document
) -> AsyncGenerator[bytes]:
    """Yield a file piece by piece.

    Each piece is read in a transaction and a turn of its own: a reader who takes their time holds neither a connection
    nor a snapshot, and no more than one piece is ever in memory.
    """
    yield document.head().encode()
    position: Position | None = start
    while position is not None:
        read = functools.partial(
            statements.page, account_id=account.id, period=period, position=position, limit=LINES_PER_CHUNK
        )
        lines, position = await turns.transaction(read)
        if lines:
            yield document.lines(lines).encode()
    yield document.tail().encode()
