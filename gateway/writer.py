"""Messages to JSON: one writer per message type, compiled once."""

from collections.abc import Callable
from typing import Any, Final

import orjson
from google.protobuf import descriptor, message

from gateway import money_fields, scalars, wellknown
from kobklein import enums, validation

FieldDescriptor = descriptor.FieldDescriptor
Show = Callable[[Any], Any]
"""Returns the JSON value of a field's value."""
Put = Callable[[message.Message, dict[str, Any]], None]
"""Adds one field of the message to a JSON object, if it has something to show."""

_QUOTED: Final = frozenset({FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_UINT64})
_writers: Final[dict[descriptor.Descriptor, "Writer"]] = {}


def of(message_type: descriptor.Descriptor) -> "Writer":
    """Return the writer of a message type; raises TypeError for a type that JSON cannot express here."""
    if message_type not in _writers:
        writer = _writers[message_type] = Writer()
        writer.compile(message_type)
    return _writers[message_type]


def shown(message_type: descriptor.Descriptor) -> Show:
    """Return how a message of any type becomes a JSON value, well-known types included."""
    name = message_type.full_name
    if name in wellknown.WRAPPED:
        show = _scalar(wellknown.WRAPPED[name])
        return lambda wrapper: show(wrapper.value) if show else wrapper.value
    wellknown.check_expressible(message_type)
    return wellknown.PLAIN_WRITERS.get(name) or of(message_type)


def field_shown(field: FieldDescriptor) -> Callable[[message.Message], Any]:
    """Return how one field alone becomes a JSON value: null where its message would leave it out."""
    put = _put(field)

    def show(source: message.Message) -> Any:
        holder: dict[str, Any] = {}
        put(source, holder)
        return holder.get(field.json_name)

    return show


def dumps(value: Any) -> bytes:
    """Return a JSON value as text."""
    return orjson.dumps(value)


class Writer:
    """Turns messages of one type into JSON objects."""

    __slots__ = ("_puts",)

    def __init__(self) -> None:
        self._puts: tuple[Put, ...] = ()

    def compile(self, message_type: descriptor.Descriptor) -> None:
        """Learn the fields of the type."""
        self._puts = tuple(_put(field) for field in message_type.fields if not validation.rules_of(field).input_only)

    def __call__(self, source: message.Message) -> dict[str, Any]:
        """Return `source` as a JSON object.

        Absent messages, UNSPECIFIED and what belongs to requests only are left out; empty scalars are shown.
        """
        shown: dict[str, Any] = {}
        for put in self._puts:
            put(source, shown)
        return shown


def _put(field: FieldDescriptor) -> Put:
    if validation.rules_of(field).minor_units:
        return _money(field)
    if validation.is_map(field):
        return _map(field)
    show = shown(field.message_type) if field.message_type is not None else _scalar(field)
    if field.is_repeated:
        return _repeated(field, show)
    if field.has_presence:
        return _present(field, show)
    return _always(field, show)


def _scalar(field: FieldDescriptor) -> Show | None:
    """Return how a value that holds no message is shown; None when it stays as it is."""
    if field.enum_type is not None:
        return _enum(field.enum_type)
    if field.cpp_type in _QUOTED:
        return str
    if field.type == FieldDescriptor.TYPE_BYTES:
        return scalars.base64_text
    if field.type == FieldDescriptor.TYPE_DOUBLE:
        return scalars.float_value
    if field.type == FieldDescriptor.TYPE_FLOAT:
        return scalars.float32_value
    return None


def _enum(enum_type: descriptor.EnumDescriptor) -> Show:
    if enum_type.full_name == "google.protobuf.NullValue":
        return lambda _: None
    names_by_number = enums.names(enum_type)
    return lambda number: names_by_number.get(number, number or None)


def _always(field: FieldDescriptor, show: Show | None) -> Put:
    name, key = field.name, field.json_name
    if show is None:

        def put_plain(source: message.Message, shown: dict[str, Any]) -> None:
            shown[key] = getattr(source, name)

        return put_plain
    unspecified = field.enum_type is not None

    def put(source: message.Message, shown: dict[str, Any]) -> None:
        value = show(getattr(source, name))
        if value is not None or not unspecified:
            shown[key] = value

    return put


def _present(field: FieldDescriptor, show: Show | None) -> Put:
    name, key = field.name, field.json_name

    def put(source: message.Message, shown: dict[str, Any]) -> None:
        if source.HasField(name):
            value = getattr(source, name)
            shown[key] = show(value) if show else value

    return put


def _repeated(field: FieldDescriptor, show: Show | None) -> Put:
    name, key = field.name, field.json_name
    if field.enum_type is None:

        def put(source: message.Message, shown: dict[str, Any]) -> None:
            values = getattr(source, name)
            shown[key] = [show(value) for value in values] if show else list(values)

        return put
    show_enum = _enum(field.enum_type)

    def put_enums(source: message.Message, shown: dict[str, Any]) -> None:
        shown[key] = [text for text in map(show_enum, getattr(source, name)) if text is not None]

    return put_enums


def _map(field: FieldDescriptor) -> Put:
    name, key = field.name, field.json_name
    key_field, value_field = validation.map_entry(field)
    show = shown(value_field.message_type) if value_field.message_type is not None else _scalar(value_field)
    show_key = _boolean_key if key_field.type == FieldDescriptor.TYPE_BOOL else str

    def put(source: message.Message, shown: dict[str, Any]) -> None:
        entries = sorted(getattr(source, name).items())  # As in structures: the same bytes for the same answer.
        shown[key] = {show_key(entry): show(value) if show else value for entry, value in entries}

    return put


def _boolean_key(key: bool) -> str:
    return "true" if key else "false"


def _money(field: FieldDescriptor) -> Put:
    name, key, presence = field.name, field.json_name, field.has_presence
    render = money_fields.render(field)

    def put(source: message.Message, shown: dict[str, Any]) -> None:
        if presence and not source.HasField(name):
            return
        text = render(source)
        if text is not None:
            shown[key] = text

    return put
