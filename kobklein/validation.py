"""The check of a message against the rules of its fields, compiled once per message type."""

import functools
import math
import re
from collections.abc import Callable, Iterator
from typing import Any, Final

import orjson
from google.protobuf import descriptor, json_format, message, struct_pb2

from kobklein import errors, money
from kobklein.options.v1 import options_pb2

MAX_STRUCT_DEPTH: Final = 16
"""Deepest nesting of a free-form structure."""

FieldDescriptor = descriptor.FieldDescriptor
Check = Callable[[Any, str, list[errors.Violation]], None]
"""Adds what is wrong with one field of the message; the string is the path of the message itself, with a dot."""

_CURRENCY: Final = "currency"
"""Name of the fields that hold an ISO 4217 code, and that give the amounts beside them their meaning."""
_STRUCT: Final = struct_pb2.Struct.DESCRIPTOR.full_name
_INTEGERS: Final = frozenset(
    {
        FieldDescriptor.CPPTYPE_INT32,
        FieldDescriptor.CPPTYPE_INT64,
        FieldDescriptor.CPPTYPE_UINT32,
        FieldDescriptor.CPPTYPE_UINT64,
    }
)


def check(request: message.Message) -> None:
    """Fill the defaults of `request` in and check it; raises InvalidArgument that names every offending field."""
    violations: list[errors.Violation] = []
    _validator(request.DESCRIPTOR)(request, "", violations)
    if violations:
        raise errors.InvalidArgument(*violations)


def rules_of(field: descriptor.FieldDescriptor) -> options_pb2.FieldRules:
    """Return the rules of a field; empty ones where the proto gives none."""
    return field.GetOptions().Extensions[options_pb2.field]


def is_map(field: descriptor.FieldDescriptor) -> bool:
    """Whether the field is a map."""
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def map_entry(field: descriptor.FieldDescriptor) -> tuple[descriptor.FieldDescriptor, descriptor.FieldDescriptor]:
    """Return the fields for the key and the value of a map; raises TypeError for any other field."""
    if field.message_type is None:
        raise TypeError(f"{field.full_name} is no map")
    by_name = field.message_type.fields_by_name
    return by_name["key"], by_name["value"]


def rules_of_keys(rules: options_pb2.FieldRules) -> options_pb2.FieldRules:
    """Return what the rules of a map say of each key."""
    return options_pb2.FieldRules(max_length=rules.max_key_length or rules.max_length)


def holds_ours(field: FieldDescriptor) -> bool:
    """Whether the field holds messages of a contract of ours, whose fields have rules of their own."""
    return field.message_type is not None and not field.message_type.full_name.startswith("google.")


@functools.cache
def _validator(message_type: descriptor.Descriptor) -> Check:
    checks = [_default(field.name, rules_of(field).default_value) for field in _with_default(message_type)]
    nested: list[tuple[FieldDescriptor, bool]] = []
    for field in message_type.fields:
        checks.extend(_field_checks(field, rules_of(field)))
        if holds_ours(field) and not is_map(field):
            nested.append((field, field.is_repeated))

    def validate(value: Any, path: str, found: list[errors.Violation]) -> None:
        for one in checks:
            one(value, path, found)
        for field, repeated in nested:
            name = field.name
            if repeated:
                nested_check = _validator(field.message_type)
                for index, item in enumerate(getattr(value, name)):
                    nested_check(item, f"{path}{name}[{index}].", found)
            elif value.HasField(name):
                _validator(field.message_type)(getattr(value, name), f"{path}{name}.", found)

    return validate


def _with_default(message_type: descriptor.Descriptor) -> list[FieldDescriptor]:
    return [field for field in message_type.fields if rules_of(field).default_value]


def _field_checks(field: FieldDescriptor, rules: options_pb2.FieldRules) -> Iterator[Check]:
    name = field.name
    if rules.output_only:
        yield _simple(name, field, lambda _: "is set by the service")
        return
    if rules.required:
        yield _required(name, _presence(field))
    if rules.minor_units:
        yield _currency(name, _presence(field))
    if rules.max_items and field.is_repeated:
        yield _simple(name, field, _most_items(rules.max_items))
    if is_map(field):
        yield _entries(field, rules)
        return
    kind = _kind_check(field, rules)
    if kind is not None:
        yield _each(name, kind) if field.is_repeated else _simple(name, field, kind)


def _kind_check(field: FieldDescriptor, rules: options_pb2.FieldRules) -> Callable[[Any], str] | None:
    if field.name == _CURRENCY and field.type == FieldDescriptor.TYPE_STRING:
        return _known_currency
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING and field.type == FieldDescriptor.TYPE_STRING:
        return _text(rules)
    if field.cpp_type in _INTEGERS and (rules.HasField("min") or rules.HasField("max")):
        return _number(rules)
    if field.enum_type is not None:
        return _known(field.enum_type)
    if field.message_type is not None and field.message_type.full_name == _STRUCT:
        return _struct(rules)
    return None


def _presence(field: FieldDescriptor) -> Callable[[Any], bool]:
    name = field.name
    if field.has_presence:
        return lambda value: bool(value.HasField(name))
    return lambda value: bool(getattr(value, name))


def _default(name: str, default: str) -> Check:
    def fill(value: Any, _path: str, _found: list[errors.Violation]) -> None:
        if not getattr(value, name):
            setattr(value, name, default)

    return fill


def _required(name: str, present: Callable[[Any], bool]) -> Check:
    def required(value: Any, path: str, found: list[errors.Violation]) -> None:
        if not present(value):
            found.append(errors.Violation(path + name, "is required"))

    return required


def _currency(name: str, present: Callable[[Any], bool]) -> Check:
    def currency(value: Any, path: str, found: list[errors.Violation]) -> None:
        if not getattr(value, _CURRENCY, "") and present(value):
            found.append(errors.Violation(path + _CURRENCY, f"is required with {name}"))

    return currency


def _simple(name: str, field: FieldDescriptor, wrong: Callable[[Any], str]) -> Check:
    def when_set(value: Any, path: str, found: list[errors.Violation]) -> None:
        if value.HasField(name) and (description := wrong(getattr(value, name))):
            found.append(errors.Violation(path + name, description))

    def when_not_zero(value: Any, path: str, found: list[errors.Violation]) -> None:
        content = getattr(value, name)
        if content and (description := wrong(content)):
            found.append(errors.Violation(path + name, description))

    return when_set if field.has_presence else when_not_zero


def _each(name: str, wrong: Callable[[Any], str]) -> Check:
    def each(value: Any, path: str, found: list[errors.Violation]) -> None:
        for index, item in enumerate(getattr(value, name)):
            if description := wrong(item):
                found.append(errors.Violation(f"{path}{name}[{index}]", description))

    return each


def _entries(field: FieldDescriptor, rules: options_pb2.FieldRules) -> Check:
    """Return the check of each key and each value of a map; a wrong key is not repeated, since it may be endless."""
    name, (key_field, value_field) = field.name, map_entry(field)
    wrong_key, wrong_value = _kind_check(key_field, rules_of_keys(rules)), _kind_check(value_field, rules)
    nested = value_field.message_type if holds_ours(value_field) else None

    def entries(value: Any, path: str, found: list[errors.Violation]) -> None:
        for key, item in getattr(value, name).items():
            if wrong_key is not None and (description := wrong_key(key)):
                found.append(errors.Violation(path + name, f"has a key that {description}"))
            elif wrong_value is not None and (description := wrong_value(item)):
                found.append(errors.Violation(f"{path}{name}.{key}", description))
            elif nested is not None:
                _validator(nested)(item, f"{path}{name}.{key}.", found)

    return entries


def _most_items(most: int) -> Callable[[Any], str]:
    return lambda items: f"has more than {most} items" if len(items) > most else ""


def _text(rules: options_pb2.FieldRules) -> Callable[[str], str]:
    pattern = re.compile(rules.pattern) if rules.pattern else None

    def wrong(text: str) -> str:
        if rules.max_length and len(text) > rules.max_length:
            return f"is longer than {rules.max_length} characters"
        if len(text) < rules.min_length:
            return f"is shorter than {rules.min_length} characters"
        if "\x00" in text:
            return "contains a NUL character"
        if pattern is not None and pattern.fullmatch(text) is None:
            return f"does not match {rules.pattern}"
        return ""

    return wrong


def _known_currency(code: str) -> str:
    return "" if code in money.currencies() else "is not a currency of ISO 4217"


def _number(rules: options_pb2.FieldRules) -> Callable[[int], str]:
    least = rules.min if rules.HasField("min") else -math.inf
    most = rules.max if rules.HasField("max") else math.inf

    def wrong(number: int) -> str:
        if number < least:
            return f"is less than {_bound(int(least), rules)}"
        if number > most:
            return f"is more than {_bound(int(most), rules)}"
        return ""

    return wrong


def _bound(number: int, rules: options_pb2.FieldRules) -> str:
    return f"{number} minor unit{'' if number == 1 else 's'}" if rules.minor_units else str(number)


def _known(enum_type: descriptor.EnumDescriptor) -> Callable[[int], str]:
    known = frozenset(enum_type.values_by_number)
    return lambda number: "" if number in known else f"{number} is not a known value"


def _struct(rules: options_pb2.FieldRules) -> Callable[[struct_pb2.Struct], str]:
    def wrong(struct: struct_pb2.Struct) -> str:
        if rules.max_items and len(struct.fields) > rules.max_items:
            return f"has more than {rules.max_items} keys"
        if _depth(struct) > MAX_STRUCT_DEPTH:
            return f"is nested deeper than {MAX_STRUCT_DEPTH} levels"
        try:
            text = orjson.dumps(json_format.MessageToDict(struct))
        except (ValueError, json_format.SerializeToJsonError):
            return "holds a number that JSON cannot"
        if rules.max_bytes and len(text) > rules.max_bytes:
            return f"takes more than {rules.max_bytes} bytes"
        return "contains a NUL character" if rb"\u0000" in text else ""

    return wrong


def _depth(value: struct_pb2.Struct | struct_pb2.Value) -> int:
    if isinstance(value, struct_pb2.Struct):
        return 1 + max(map(_depth, value.fields.values()), default=0)
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return _depth(value.struct_value)
    if kind == "list_value":
        return 1 + max(map(_depth, value.list_value.values), default=0)
    return 0
