"""Array literals of PostgreSQL as text: building them here costs a fraction of adapting every value by itself."""

import datetime
from collections.abc import Iterable


def numbers(values: Iterable[int]) -> str:
    """Return an array of integers."""
    return "{" + ",".join(map(str, values)) + "}"


def optional(values: Iterable[object]) -> str:
    """Return an array of what needs no quotes, such as numbers, ids and dates, or is None."""
    return "{" + ",".join(["NULL" if value is None else str(value) for value in values]) + "}"


def times(values: Iterable[datetime.datetime | None]) -> str:
    """Return an array of instants, or None."""
    return "{" + ",".join(["NULL" if value is None else f'"{value.isoformat()}"' for value in values]) + "}"


def plain(values: Iterable[str]) -> str:
    """Return an array of ids and codes, which are never empty and need no quotes."""
    return "{" + ",".join(values) + "}"


def quoted(addresses: Iterable[str]) -> str:
    """Return an array of addresses: they hold nothing to escape, but one may be the word `null`."""
    return '{"' + '","'.join(addresses) + '"}'


def texts(values: Iterable[str]) -> str:
    """Return an array of any texts."""
    return "{" + ",".join([f'"{_escaped(value)}"' if value else '""' for value in values]) + "}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
