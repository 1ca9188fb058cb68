"""Request fields given as text: variables of the path and parameters of the query."""

import dataclasses
import re
import urllib.parse
from collections.abc import Collection, Iterable
from typing import Any, Final

from google.protobuf import descriptor

from gateway import wellknown
from gateway.violations import Violations
from kobklein import validation

_MAX_PARAMETERS: Final = 200
_MAX_NESTING: Final = 8
_TEXT_TYPES: Final = frozenset(
    {"google.protobuf.Timestamp", "google.protobuf.Duration", "google.protobuf.FieldMask", *wellknown.WRAPPED}
)
_BOOLEANS: Final = {"true": True, "false": False}
_ENTRY: Final = re.compile(r"([^\[\]]+)\[(.*)\]", re.DOTALL)
"""An entry of a map, `field[key]`; the key may hold brackets of its own."""
_SPACE_IN_OFFSET: Final = re.compile(r" (?=[0-9]{2}:[0-9]{2}\Z)")
"""What becomes of the `+` of an offset that a client has not escaped."""


class NotAParameter(ValueError):
    """A name that text cannot be given for; the message says why, for the caller."""


@dataclasses.dataclass(frozen=True, slots=True)
class Parameter:
    """A field that text can fill, by the proto names that lead to it."""

    path: tuple[str, ...]
    repeated: bool
    boolean: bool
    map: bool = False
    enum: bool = False
    time: bool = False

    def put(self, tree: dict[str, Any], text: str, violations: Violations) -> None:
        """Add the text to a JSON object of the request, where the field stands in it."""
        for name in self.path[:-1]:
            tree = tree.setdefault(name, {})
        name, value = self.path[-1], _BOOLEANS.get(text, text) if self.boolean else text
        if self.time:
            value = _SPACE_IN_OFFSET.sub("+", text)
        if self.repeated:
            tree.setdefault(name, []).extend(text.split(",") if self.enum else [value])
        elif name in tree:
            violations.add(".".join(self.path), "is given more than once")
        else:
            tree[name] = value

    def put_entry(self, tree: dict[str, Any], key: str, text: str, violations: Violations) -> None:
        """Add one entry of a map to a JSON object of the request."""
        Parameter((*self.path, key), repeated=False, boolean=False).put(tree, text, violations)


def resolve(message_type: descriptor.Descriptor, name: str) -> Parameter:
    """Return the parameter of a dotted name, each part of it in either spelling; raises NotAParameter."""
    path: list[str] = []
    current: descriptor.Descriptor | None = message_type
    field: descriptor.FieldDescriptor | None = None
    for part in name.split("."):
        field = _field(current, part) if current is not None and len(path) < _MAX_NESTING else None
        if field is None:
            raise NotAParameter("is not a known parameter")
        path.append(field.name)
        current = None if field.is_repeated or _is_text(field) else field.message_type
    if field is None or not (_is_text(field) or is_text_map(field)):
        raise NotAParameter("cannot be given as text")
    return Parameter(
        tuple(path),
        repeated=field.is_repeated,
        boolean=_is_boolean(field),
        map=validation.is_map(field),
        enum=field.enum_type is not None,
        time=field.message_type is not None and field.message_type.full_name == "google.protobuf.Timestamp",
    )


def check_maps(message_type: descriptor.Descriptor, taken: Collection[str]) -> None:
    """Raise NotAParameter for a map that a query would have to give, but cannot; `taken` fields come by other ways."""
    waiting, seen = [message_type], {message_type}
    while waiting:
        current = waiting.pop()
        for field in current.fields:
            elsewhere = current is message_type and field.name in taken
            if elsewhere or validation.rules_of(field).output_only or field.message_type is None:
                continue
            if validation.is_map(field):
                if not is_text_map(field):
                    raise NotAParameter(f"a query cannot give {field.full_name}, which is no map of text by text")
            elif validation.holds_ours(field) and not field.is_repeated and field.message_type not in seen:
                seen.add(field.message_type)
                waiting.append(field.message_type)


def is_text_map(field: descriptor.FieldDescriptor) -> bool:
    """Whether the field is a map of text by text, the one kind of map that a query can give."""
    if not validation.is_map(field):
        return False
    return all(part.type == descriptor.FieldDescriptor.TYPE_STRING for part in validation.map_entry(field))


def _field(message_type: descriptor.Descriptor, part: str) -> descriptor.FieldDescriptor | None:
    return message_type.fields_by_name.get(part) or message_type.fields_by_camelcase_name.get(part)


def _is_text(field: descriptor.FieldDescriptor) -> bool:
    return field.message_type is None or field.message_type.full_name in _TEXT_TYPES


def _is_boolean(field: descriptor.FieldDescriptor) -> bool:
    if field.message_type is not None:
        return field.message_type.full_name == "google.protobuf.BoolValue"
    return field.type == descriptor.FieldDescriptor.TYPE_BOOL


class Query:
    """The query parameters of one route: every field of the request that neither the path nor the body gives."""

    def __init__(self, message_type: descriptor.Descriptor, *, taken: Iterable[str], open_to_fields: bool) -> None:
        self._type = message_type
        self._taken = frozenset(taken)
        self._open = open_to_fields
        self._known: dict[str, Parameter] = {}

    def read(self, raw: bytes, tree: dict[str, Any], violations: Violations) -> None:
        """Add the parameters to a JSON object of the request."""
        try:
            pairs = urllib.parse.parse_qsl(
                raw.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=_MAX_PARAMETERS
            )
        except UnicodeError:
            violations.add("query", "is not percent-encoded UTF-8")
            return
        except ValueError:
            violations.add("query", f"has more than {_MAX_PARAMETERS} parameters")
            return
        for name, text in pairs:
            try:
                self._put(name, text, tree, violations)
            except NotAParameter as error:
                violations.add(name, str(error))

    def _put(self, name: str, text: str, tree: dict[str, Any], violations: Violations) -> None:
        entry = _ENTRY.fullmatch(name)
        parameter = self._parameter(entry[1] if entry else name)
        if entry is None and not parameter.map:
            parameter.put(tree, text, violations)
        elif entry is None or not entry[2]:
            raise NotAParameter("needs a key in brackets")
        elif parameter.map:
            parameter.put_entry(tree, entry[2], text, violations)
        else:
            raise NotAParameter("takes no key in brackets")

    def _parameter(self, name: str) -> Parameter:
        if name not in self._known:
            if not self._open:
                raise NotAParameter("is not a known parameter")
            parameter = resolve(self._type, name)
            if parameter.path[0] in self._taken or ".".join(parameter.path) in self._taken:
                raise NotAParameter("is given by the path or the body")
            self._known[name] = parameter  # Bounded: only names of fields, at most _MAX_NESTING deep, get here.
        return self._known[name]
