"""Names as clients see them: JSON names of fields, and paths for error messages."""

import functools
import re
from collections.abc import Iterator, Mapping
from typing import Final

from google.protobuf import descriptor

_UPPER: Final = re.compile(r"[A-Z]")
_SNAKE_LETTER: Final = re.compile(r"_([a-z])")
_SNAKE_WORD: Final = re.compile(r"\b[a-z][a-z0-9]*(?:_[a-z0-9]+)+\b")
_PATH_PART: Final = re.compile(r"([^.\[\]]*)((?:\[[0-9]+\])?)")
_LONGEST_PATH: Final = 200


def snake(path: str) -> str:
    """Return a lowerCamelCase path in the spelling of protos."""
    return _UPPER.sub(lambda match: "_" + match[0].lower(), path)


def camel(path: str) -> str:
    """Return a path in the spelling of protos in lowerCamelCase."""
    return _SNAKE_LETTER.sub(lambda match: match[1].upper(), path)


def client_path(path: str, message_type: descriptor.Descriptor, *, body_field: str = "") -> str:
    """Return the proto path of a violation as the client knows the field.

    Known fields get their JSON names; what a client made up, and keys of maps and structures, stay as they are. A path
    inside the field that is the request's body starts there.
    """
    parts, remaining = [], _unicode(path).split(".")
    current: descriptor.Descriptor | None = message_type
    while remaining and current is not None:
        name, index = _split_index(remaining[0])
        field = current.fields_by_name.get(name)
        if field is None:
            break
        remaining.pop(0)
        parts.append(field.json_name + index)
        current = field.message_type
        if name == body_field and current is not None and len(parts) == 1:
            parts = [] if remaining else ["body"]
    return printable(".".join(parts + remaining))


def client_text(text: str, message_type: descriptor.Descriptor) -> str:
    """Return what is said of a request with the names in it of its fields, at whatever depth, as the client knows them.

    Other words with underscores stay as they are: a text may quote what a client or a provider has said.
    """
    known = json_names(message_type)
    return _SNAKE_WORD.sub(lambda match: known.get(match[0], match[0]), text)


@functools.cache
def json_names(message_type: descriptor.Descriptor) -> Mapping[str, str]:
    """Return the JSON names of all fields of a message and of the messages in it, by their names in the proto."""
    return {field.name: field.json_name for each in _reachable(message_type, set()) for field in each.fields}


def _reachable(
    message_type: descriptor.Descriptor, seen: set[descriptor.Descriptor]
) -> Iterator[descriptor.Descriptor]:
    if message_type not in seen:
        seen.add(message_type)
        yield message_type
        for field in message_type.fields:
            if field.message_type is not None:
                yield from _reachable(field.message_type, seen)


def printable(text: str) -> str:
    """Return what a client sent in a form that is safe to send back: valid Unicode, and not long."""
    return shortened(_unicode(text))


def shortened(text: str) -> str:
    """Return the beginning of a long text: a key that a client made up is repeated in the path of all that is in it."""
    return text if len(text) <= _LONGEST_PATH else text[:_LONGEST_PATH] + "…"


def _unicode(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def _split_index(part: str) -> tuple[str, str]:
    match = _PATH_PART.fullmatch(part)
    return (match[1], match[2]) if match else (part, "")
