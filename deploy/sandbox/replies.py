"""The answer to one request, before HTTP."""

from dataclasses import dataclass, field
from typing import Any, Self

import orjson


@dataclass(frozen=True, slots=True)
class Reply:
    """A status and a JSON body; a declined card is such a reply, not an exception."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, status: int, value: Any, **headers: str) -> Self:
        """A reply with `value` as JSON."""
        return cls(status, orjson.dumps(value), headers)
