"""JSON documents read strictly: exact number text, no duplicate keys, no bad UTF-8, bounded nesting and size.

The cost of a document is linear in its bytes, whatever they are: values and nesting are counted before the parser runs.
"""

import collections
import json
import re
from typing import Any, Final

MAX_DEPTH: Final = 32
"""Deepest nesting of a request body."""

MOST_VALUES: Final = 8192
"""Most values and keys of a body: one for every 8 bytes of the usual limit of 64 KiB."""
_BYTES_PER_VALUE: Final = 8
"""Bodies above that limit, which the contract allows some methods, may have one value or key for so many bytes."""

_TOKEN: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[\]{}]|[^\s"\[\]{},:]++', re.DOTALL)
"""A string, even one that does not end; a bracket; or a number or a word. Possessive, so that no byte is read twice."""


class Number(str):
    """A JSON number as its text, so that nothing is rounded before its field is known."""

    __slots__ = ()


class Duplicated(dict[str, Any]):
    """A JSON object that has keys more than once."""

    __slots__ = ("names",)

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        counts = collections.Counter(name for name, _ in pairs)
        self.names = [name for name, count in counts.items() if count > 1]


class Malformed(ValueError):
    """A body that is no JSON document; the message is for the caller."""

    def __init__(self, description: str, *, field: str = "body") -> None:
        super().__init__(description)
        self.field = field


def parse(body: bytes) -> Any:
    """Return the value of a JSON document: dict, list, str, bool, None, or Number.

    Raises Malformed. An object with duplicate keys is a Duplicated; its reader names them.
    """
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise Malformed(f"is not UTF-8 at byte {error.start}") from None
    _check_size(body)
    try:
        return _decoder.decode(text)
    except json.JSONDecodeError as error:
        raise Malformed(f"is not JSON: {error.msg} at line {error.lineno} column {error.colno}") from None


def is_longer(value: Any, most: int) -> bool:
    """Whether a value certainly takes more bytes than `most` once it is written as compact JSON.

    Looks at no more of the value than that. A number counts as one byte, since it may be written shorter than it came.
    """
    length, waiting = 0, [value]
    while waiting and length <= most:
        current = waiting.pop()
        if isinstance(current, dict):
            length += 2 + sum(len(key) + 4 for key in current) - bool(current)
            waiting += current.values()
        elif isinstance(current, list):
            length += 2 + len(current) - bool(current)
            waiting += current
        elif type(current) is str:
            length += 2 + len(current)
        else:
            length += 1
    return length > most


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    return found if len(found) == len(pairs) else Duplicated(pairs)


def _check_size(body: bytes) -> None:
    """Raise Malformed for a body with too many values, or nested too deeply.

    Almost every body passes by its first lines: each value and key stands at the start or behind one of four marks.
    """
    most = max(MOST_VALUES, len(body) // _BYTES_PER_VALUE)
    brackets = body.count(b"{") + body.count(b"[")
    if brackets <= MAX_DEPTH and 1 + brackets + body.count(b",") + body.count(b":") <= most:
        return
    depth, values, field = 0, 0, b"body"
    for match in _TOKEN.finditer(body):
        token = match[0]
        if token in b"]}":
            depth -= 1
            continue
        values += 1
        if values > most:
            raise Malformed(f"has more than {most} values and keys")
        if token in b"[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise Malformed(f"is nested deeper than {MAX_DEPTH} levels", field=field.decode())
        elif depth == 1 and token.startswith(b'"'):
            field = token[1:-1] or b"body"


_decoder: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_float=Number, parse_int=Number, parse_constant=Number
)
