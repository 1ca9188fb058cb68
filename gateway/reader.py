"""JSON to messages: one reader per message type, compiled once, that collects every error instead of the first."""

from collections.abc import Callable
from typing import Any, Final

from google.protobuf import descriptor, message

from gateway import documents, money_fields, names, scalars, wellknown
from gateway.violations import Violations
from kobklein import validation, value_checks

FieldDescriptor = descriptor.FieldDescriptor
Fill = Callable[[message.Message, Any, str, Violations], None]
"""Sets one field of the message from a JSON value; the string is the field's proto path, for errors."""

_readers: Final[dict[descriptor.Descriptor, "Reader"]] = {}


def of(message_type: descriptor.Descriptor) -> wellknown.Read:
    """Return the reader of a message type; raises TypeError for a type that JSON cannot express here."""
    known = wellknown.READERS.get(message_type.full_name)
    if known is not None:
        return known
    wellknown.check_expressible(message_type)
    if message_type not in _readers:
        reader = _readers[message_type] = Reader()
        reader.compile(message_type)
    return _readers[message_type]


class _Field:
    """How one field is read: `group` is what it may be given once of, its own name or its oneof's."""

    __slots__ = ("fill", "group", "money", "name", "nullable")

    def __init__(self, field: FieldDescriptor) -> None:
        self.name = field.name
        self.group = _group(field)
        self.money = validation.rules_of(field).minor_units
        self.nullable = wellknown.takes_null(field)
        self.fill = fill_of(field)


class Reader:
    """Fills messages of one type from JSON objects."""

    __slots__ = ("_fields",)

    def __init__(self) -> None:
        self._fields: dict[str, _Field] = {}

    def compile(self, message_type: descriptor.Descriptor) -> None:
        """Learn the fields of the type, by their JSON names and their proto names."""
        for field in message_type.fields:
            self._fields[field.json_name] = self._fields[field.name] = _Field(field)

    def __call__(self, target: message.Message, value: Any, path: str, violations: Violations) -> None:
        """Fill `target`; what is wrong is added to `violations`, and the rest is read nevertheless."""
        if not isinstance(value, dict):
            violations.add(path or "body", "is not an object")
            return
        prefix = f"{path}." if path else ""
        violations.add_duplicates(value, prefix)
        taken: dict[str, str] = {}
        amounts = []
        for key, item in value.items():
            field = self._fields.get(key)
            if field is None:
                violations.add(prefix + key, "is not a known field")
            elif item is None and not field.nullable:
                continue
            elif field.group in taken:
                violations.add(prefix + field.name, _conflict(key, taken[field.group]))
            else:
                taken[field.group] = key
                if field.money:
                    amounts.append((field, item))
                else:
                    field.fill(target, item, prefix + field.name, violations)
        for field, item in amounts:  # Last, because they need the currency.
            field.fill(target, item, prefix + field.name, violations)


def _conflict(key: str, other: str) -> str:
    return "is given more than once" if names.snake(key) == names.snake(other) else f"excludes {other}"


def _group(field: FieldDescriptor) -> str:
    oneof = field.containing_oneof
    return field.name if oneof is None or len(oneof.fields) == 1 else f"oneof {oneof.name}"


def fill_of(field: FieldDescriptor) -> Fill:
    """Return how one field is read."""
    if validation.rules_of(field).minor_units:
        return money_fields.fill(field)
    if validation.is_map(field):
        return _map(field)
    if field.message_type is not None:
        read = _bounded(of(field.message_type), validation.rules_of(field).max_bytes)
        return _messages(field.name, read) if field.is_repeated else _message(field.name, read)
    convert = scalars.converter(field)
    return _values(field.name, convert) if field.is_repeated else _value(field.name, convert)


def _bounded(read: wellknown.Read, most_bytes: int) -> wellknown.Read:
    """Return a reader that refuses free data whose JSON is too long before it makes a message of it."""
    if not most_bytes:
        return read

    def bounded(target: message.Message, value: Any, path: str, violations: Violations) -> None:
        if documents.is_longer(value, most_bytes):
            violations.add(path, value_checks.too_many_bytes(most_bytes))
        else:
            read(target, value, path, violations)

    return bounded


def _value(name: str, convert: scalars.Convert) -> Fill:
    def fill(target: message.Message, value: Any, path: str, violations: Violations) -> None:
        try:
            setattr(target, name, convert(value))
        except scalars.Wrong as wrong:
            violations.add(path, str(wrong))

    return fill


def _values(name: str, convert: scalars.Convert) -> Fill:
    def fill(target: message.Message, value: Any, path: str, violations: Violations) -> None:
        items = getattr(target, name)
        for index, item in enumerate(violations.list(value, path)):
            try:
                items.append(convert(item))
            except scalars.Wrong as wrong:
                violations.add(f"{path}[{index}]", str(wrong))

    return fill


def _message(name: str, read: wellknown.Read) -> Fill:
    def fill(target: message.Message, value: Any, path: str, violations: Violations) -> None:
        nested = getattr(target, name)
        nested.SetInParent()
        read(nested, value, path, violations)

    return fill


def _messages(name: str, read: wellknown.Read) -> Fill:
    def fill(target: message.Message, value: Any, path: str, violations: Violations) -> None:
        items = getattr(target, name)
        for index, item in enumerate(violations.list(value, path)):
            read(items.add(), item, f"{path}[{index}]", violations)

    return fill


def _map(field: FieldDescriptor) -> Fill:
    key_field, value_field = validation.map_entry(field)
    key_of, fill_value = _map_key(key_field), _map_value(value_field)
    name = field.name

    def fill(target: message.Message, value: Any, path: str, violations: Violations) -> None:
        if not isinstance(value, dict):
            violations.add(path, "is not an object")
            return
        violations.add_duplicates(value, f"{path}.")
        container = getattr(target, name)
        for text, item in value.items():
            try:
                fill_value(container, key_of(text), item, f"{path}.{names.shortened(text)}", violations)
            except scalars.Wrong as wrong:
                violations.add(f"{path}.{text}", str(wrong))

    return fill


def _map_key(field: FieldDescriptor) -> scalars.Convert:
    """Return how a key, always a string in JSON, becomes the map's kind of key."""
    if field.type == FieldDescriptor.TYPE_BOOL:
        return lambda key: scalars.boolean({"true": True, "false": False}.get(key, key))
    return scalars.converter(field)


def _map_value(field: FieldDescriptor) -> Callable[[Any, Any, Any, str, Violations], None]:
    if field.message_type is None:
        convert = scalars.converter(field)

        def put(container: Any, key: Any, value: Any, _path: str, _violations: Violations) -> None:
            container[key] = convert(value)

        return put
    read = of(field.message_type)

    def fill(container: Any, key: Any, value: Any, path: str, violations: Violations) -> None:
        read(container[key], value, path, violations)

    return fill


def without_output_only(message_type: descriptor.Descriptor, value: Any) -> Any:
    """Return the JSON of a resource without the fields that the service sets, so that it may be sent back."""
    if type(value) is not dict:  # A value that is no object, or gives a key twice, is refused as it is.
        return value
    by_name = _spellings(message_type)
    kept: dict[str, Any] = {}
    for key, item in value.items():
        field = by_name.get(key)
        if field is None or not validation.rules_of(field).output_only:
            kept[key] = without_output_only(nested, item) if (nested := _message_of(field)) else item
    return kept


def _message_of(field: FieldDescriptor | None) -> descriptor.Descriptor | None:
    """Return the message of the contract that a field holds, if it holds one."""
    single = field is not None and validation.holds_ours(field) and not field.is_repeated
    return field.message_type if field is not None and single else None


def _spellings(message_type: descriptor.Descriptor) -> dict[str, FieldDescriptor]:
    return {spelling: field for field in message_type.fields for spelling in (field.name, field.json_name)}


def mask_of(message_type: descriptor.Descriptor, value: dict[str, Any], prefix: str = "") -> list[str]:
    """Return the proto paths that a JSON object gives: the update mask of a PATCH that states none.

    Goes into messages of the contract, not into maps, structures or lists: those are replaced whole.
    """
    by_name = _spellings(message_type)
    paths: list[str] = []
    for key, item in value.items():
        field = by_name.get(key)
        if field is None:
            continue
        nested = field.message_type if isinstance(item, dict) and item and not field.is_repeated else None
        if nested is not None and nested.full_name not in wellknown.READERS:
            paths += mask_of(nested, item, f"{prefix}{field.name}.")
        else:
            paths.append(prefix + field.name)
    return paths
