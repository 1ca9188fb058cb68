"""Examples of requests and answers, made from the contract: of its fields' own examples, and else of their types.

A request's example has the required fields and each field with an example; the rest is left to the service, such as the
caller's own id. An answer's example has every field that an answer has, so it is one that can be.
"""

import json
from typing import Any, Final

from google.protobuf import descriptor

from gateway import money_fields, wellknown
from kobklein import enums, validation
from kobklein.options.v1 import options_pb2

FieldDescriptor = descriptor.FieldDescriptor

ABSENT: Final = object()
"""The example of a field that is left out."""
_LEFT_OUT: Final = "null"
_ID: Final = "0198c5b0-7d2a-7c3e-9f61-2b8f4d1c9a10"
_CURRENCY: Final = "USD"
_KNOWN: Final[dict[str, Any]] = {
    "google.protobuf.Timestamp": "2026-11-27T23:18:17.116822Z",
    "google.protobuf.Duration": "1.5s",
    "google.protobuf.Empty": {},
}
_TEXTS: Final = frozenset((FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES, FieldDescriptor.TYPE_ENUM))
_TEXT_MESSAGES: Final = frozenset(("google.protobuf.Timestamp", "google.protobuf.Duration"))
_WIDE: Final = (FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_UINT64)
_DECIMALS: Final = (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT)


def of_message(message_type: descriptor.Descriptor, *, given: bool, without: frozenset[str] = frozenset()) -> Any:
    """Return the example of a message as JSON has it; `given` when clients send it, `without` what comes elsewhere."""
    return _message(message_type, given=given, without=without, around=())


def of_field(field: FieldDescriptor, *, given: bool) -> Any:
    """Return the example of a field that stands alone: in a path or a query, or as a whole body."""
    return stated(field) if validation.rules_of(field).example else _value(field, given=given, around=())


def stated(field: FieldDescriptor) -> Any:
    """Return the example that a field's rules state, or ABSENT, as for `null`: the field is left out of examples.

    Raises ValueError for one that is no JSON where it should be.
    """
    rules = validation.rules_of(field)
    if not rules.example or rules.example == _LEFT_OUT:
        return ABSENT
    text = not field.is_repeated and (_is_text(field, rules) or field.cpp_type in _WIDE)
    try:
        return rules.example if text else json.loads(rules.example)
    except ValueError as error:
        raise ValueError(f"the example of {field.full_name} is not JSON: {rules.example!r}") from error


def _message(
    message_type: descriptor.Descriptor, *, given: bool, without: frozenset[str], around: tuple[str, ...]
) -> Any:
    found: dict[str, Any] = {}
    chosen = set()
    for field in message_type.fields:
        oneof = field.containing_oneof
        hidden = validation.is_hidden(field, given=given)
        if field.name in without or hidden or (oneof is not None and oneof in chosen):
            continue
        value = _field(field, given=given, around=(*around, message_type.full_name))
        if value is not ABSENT:
            found[field.json_name] = value
            chosen.add(oneof)
    return found


def _field(field: FieldDescriptor, *, given: bool, around: tuple[str, ...]) -> Any:
    rules = validation.rules_of(field)
    if rules.example:
        return stated(field)
    in_oneof = field.containing_oneof is not None and len(field.containing_oneof.fields) > 1
    optional = given or (field.has_presence and field.message_type is None and not in_oneof)
    return ABSENT if optional and not rules.required else _value(field, given=given, around=around)


def _value(field: FieldDescriptor, *, given: bool, around: tuple[str, ...]) -> Any:
    if validation.is_map(field):
        return {}
    rules = validation.rules_of(field)
    single = (
        _message_value(field, given=given, around=around) if field.message_type else _scalar(field, rules, given=given)
    )
    if field.is_repeated:
        return [] if single is ABSENT else [single]
    return single


def _message_value(field: FieldDescriptor, *, given: bool, around: tuple[str, ...]) -> Any:
    message_type = field.message_type
    assert message_type is not None  # noqa: S101  # its callers have looked
    name = message_type.full_name
    if name in _KNOWN:
        return _KNOWN[name]
    if name in wellknown.READERS or name in around:
        return ABSENT
    return _message(message_type, given=given, without=frozenset(), around=around)


def _scalar(field: FieldDescriptor, rules: options_pb2.FieldRules, *, given: bool) -> Any:
    if rules.minor_units:
        return "0.00"
    if field.enum_type is not None:
        return next(iter(rules.allowed or enums.numbers(field.enum_type)), ABSENT)
    if field.type == FieldDescriptor.TYPE_BOOL:
        return False
    if field.cpp_type in _DECIMALS:
        return 1.0
    if field.type in _TEXTS:
        return _text(field, given=given)
    number = rules.min if rules.HasField("min") else 1
    return str(number) if field.cpp_type in _WIDE else number


def _text(field: FieldDescriptor, *, given: bool) -> str:
    if field.name == money_fields.CURRENCY:
        return _CURRENCY
    if field.name == "id" or validation.rules_of(field).format == options_pb2.FORMAT_UUID:
        return _ID
    return field.name if given else ""


def _is_text(field: FieldDescriptor, rules: options_pb2.FieldRules) -> bool:
    known = field.message_type is not None and field.message_type.full_name in _TEXT_MESSAGES
    return known or rules.minor_units or field.type in _TEXTS
