"""JSON documents read strictly: exact number text, no duplicate keys, no bad UTF-8, no bottomless nesting."""

import collections
import json
import re
from typing import Any, Final

MAX_DEPTH: Final = 32
"""Deepest nesting of a request body."""

_TOKEN: Final = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]')


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
    _check_depth(text)
    try:
        return _decoder.decode(text)
    except json.JSONDecodeError as error:
        raise Malformed(f"is not JSON: {error.msg} at line {error.lineno} column {error.colno}") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    return found if len(found) == len(pairs) else Duplicated(pairs)


def _check_depth(text: str) -> None:
    """Refuse deep nesting before the parser recurses into it; almost every body passes by its first line."""
    if text.count("{") + text.count("[") <= MAX_DEPTH:
        return
    depth, field = 0, "body"
    for match in _TOKEN.finditer(text):
        mark = match[0]
        if mark in "[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise Malformed(f"is nested deeper than {MAX_DEPTH} levels", field=field)
        elif mark in "]}":
            depth -= 1
        elif depth == 1:
            field = mark[1:-1] or "body"


_decoder: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_float=Number, parse_int=Number, parse_constant=Number
)
