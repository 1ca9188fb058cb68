"""Names as clients see them: JSON names of fields, and paths for error messages."""

import re
from typing import Final

from google.protobuf import descriptor

_UPPER: Final = re.compile(r"[A-Z]")
_SNAKE_LETTER: Final = re.compile(r"_([a-z])")
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


def printable(text: str) -> str:
    """Return what a client sent in a form that is safe to send back: valid Unicode, and not long."""
    safe = _unicode(text)
    return safe if len(safe) <= _LONGEST_PATH else safe[:_LONGEST_PATH] + "…"


def _unicode(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def _split_index(part: str) -> tuple[str, str]:
    match = _PATH_PART.fullmatch(part)
    return (match[1], match[2]) if match else (part, "")
