"""Array literals of PostgreSQL as text: building them here costs a fraction of adapting every value by itself.

Where no value is given at all, the array is empty: beside longer ones, `unnest` makes NULLs of what it lacks.
"""

import datetime
from collections.abc import Iterable, Sequence


def numbers(values: Iterable[int]) -> str:
    """Return an array of integers."""
    return "{" + ",".join(map(str, values)) + "}"


def optional(values: Sequence[object]) -> str:
    """Return an array of what needs no quotes, such as numbers and ids, or is None."""
    if _blank(values, None):
        return "{}"
    return "{" + ",".join(["NULL" if value is None else str(value) for value in values]) + "}"


def dates(values: Sequence[datetime.date | None]) -> str:
    """Return an array of dates, of which there are few different ones, or None."""
    if _blank(values, None):
        return "{}"
    written = {value: "NULL" if value is None else value.isoformat() for value in set(values)}
    return "{" + ",".join([written[value] for value in values]) + "}"


def times(values: Sequence[datetime.datetime | None]) -> str:
    """Return an array of instants, or None."""
    if _blank(values, None):
        return "{}"
    return "{" + ",".join(["NULL" if value is None else f'"{value.isoformat()}"' for value in values]) + "}"


def plain(values: Iterable[str]) -> str:
    """Return an array of ids and codes, which are never empty and need no quotes."""
    return "{" + ",".join(values) + "}"


def quoted(addresses: Iterable[str]) -> str:
    """Return an array of addresses, which are never empty; quoted, since one may be the word `null`."""
    return '{"' + '","'.join(map(_escaped, addresses)) + '"}'


def texts(values: Sequence[str]) -> str:
    """Return an array of any texts; NULL, in an empty array, stands for the empty text."""
    if _blank(values, ""):
        return "{}"
    return "{" + ",".join([f'"{_escaped(value)}"' if value else '""' for value in values]) + "}"


def _blank(values: Sequence[object], nothing: object) -> bool:
    return values.count(nothing) == len(values)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
