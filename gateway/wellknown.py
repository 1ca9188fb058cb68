"""The well-known types that have a JSON form of their own."""

import decimal
import math
from collections.abc import Callable
from typing import Any, Final

from google.protobuf import (
    descriptor,
    duration_pb2,
    empty_pb2,
    field_mask_pb2,
    struct_pb2,
    timestamp_pb2,
    wrappers_pb2,
)

from gateway import documents, names, scalars
from gateway.violations import Violations
from kobklein import value_checks

Read = Callable[[Any, Any, str, Violations], None]
"""Fills a message from a JSON value; the string is the message's proto path, for errors."""
Write = Callable[[Any], Any]
"""Returns the JSON value of a message."""

HTTP_BODY: Final = "google.api.HttpBody"
"""The type of an answer that is no JSON."""
_PACKAGE: Final = "google.protobuf."
_EXACT_INTEGERS: Final = 2**53
_WRAPPERS: Final = (
    wrappers_pb2.BoolValue,
    wrappers_pb2.StringValue,
    wrappers_pb2.BytesValue,
    wrappers_pb2.Int32Value,
    wrappers_pb2.Int64Value,
    wrappers_pb2.UInt32Value,
    wrappers_pb2.UInt64Value,
    wrappers_pb2.FloatValue,
    wrappers_pb2.DoubleValue,
)
WRAPPED: Final[dict[str, descriptor.FieldDescriptor]] = {
    wrapper.DESCRIPTOR.full_name: wrapper.DESCRIPTOR.fields_by_name["value"] for wrapper in _WRAPPERS
}
"""The only field of each wrapper type."""


def check_expressible(message_type: descriptor.Descriptor) -> None:
    """Raise TypeError for the types that JSON does not show: raw bodies, and what nobody knows."""
    if message_type.full_name == HTTP_BODY:
        raise TypeError(f"{HTTP_BODY} is a whole answer, and no part of another message or of a request")
    if message_type.full_name == f"{_PACKAGE}Any":
        raise TypeError("google.protobuf.Any says nothing about what it holds, so it has no place in a public contract")


def takes_null(field: descriptor.FieldDescriptor) -> bool:
    """Whether JSON's null is a value of the field, and not its absence."""
    if field.message_type is not None:
        return field.message_type.full_name == f"{_PACKAGE}Value" and not field.is_repeated
    return field.enum_type is not None and field.enum_type.full_name == f"{_PACKAGE}NullValue"


def _checked(read: Callable[[Any, Any], None]) -> Read:
    def checked(target: Any, value: Any, path: str, violations: Violations) -> None:
        try:
            read(target, value)
        except scalars.Wrong as wrong:
            violations.add(path, str(wrong))

    return checked


def _read_timestamp(target: timestamp_pb2.Timestamp, value: Any) -> None:
    target.seconds, target.nanos = scalars.time_parts(value)


def _read_duration(target: duration_pb2.Duration, value: Any) -> None:
    target.seconds, target.nanos = scalars.duration_parts(value)


def _read_mask(target: field_mask_pb2.FieldMask, value: Any) -> None:
    paths = [path.strip() for path in scalars.text(value).split(",") if path.strip()]
    if fault := value_checks.mask_fault(paths):
        raise scalars.Wrong(fault)
    target.paths.extend(map(names.snake, paths))


def _read_empty(_target: empty_pb2.Empty, value: Any) -> None:
    if value != {}:
        raise scalars.Wrong("is not an empty object")


def _wrapper_reader(field: descriptor.FieldDescriptor) -> Read:
    convert = scalars.converter(field)

    def read(target: Any, value: Any) -> None:
        target.value = convert(value)

    return _checked(read)


def _read_struct(target: struct_pb2.Struct, value: Any, path: str, violations: Violations, depth: int = 1) -> None:
    if not isinstance(value, dict):
        violations.add(path, "is not an object")
        return
    violations.add_duplicates(value, f"{path}.")
    for key, item in value.items():
        try:
            _read_value(target.fields[scalars.text(key)], item, f"{path}.{names.shortened(key)}", violations, depth)
        except scalars.Wrong as wrong:
            violations.add(f"{path}.{key}", str(wrong))


def _read_list(target: struct_pb2.ListValue, value: Any, path: str, violations: Violations, depth: int = 1) -> None:
    for index, item in enumerate(violations.list(value, path)):
        _read_value(target.values.add(), item, f"{path}[{index}]", violations, depth)


def _read_value(target: struct_pb2.Value, value: Any, path: str, violations: Violations, depth: int = 0) -> None:
    if not isinstance(value, dict | list):
        _read_leaf(target, value, path, violations)
    elif depth >= value_checks.MAX_STRUCT_DEPTH:
        violations.add(path, f"is nested deeper than {value_checks.MAX_STRUCT_DEPTH} levels")
    elif isinstance(value, dict):
        target.struct_value.SetInParent()
        _read_struct(target.struct_value, value, path, violations, depth + 1)
    else:
        target.list_value.SetInParent()
        _read_list(target.list_value, value, path, violations, depth + 1)


def _read_leaf(target: struct_pb2.Value, value: Any, path: str, violations: Violations) -> None:
    try:
        if value is None:
            target.null_value = struct_pb2.NULL_VALUE
        elif isinstance(value, bool):
            target.bool_value = value
        elif type(value) is documents.Number:
            target.number_value = _exact(value)
        else:
            target.string_value = scalars.text(value)
    except scalars.Wrong as wrong:
        violations.add(path, str(wrong))


def _exact(value: documents.Number) -> float:
    """Return a number of free-form data; one that would come back as another number is refused."""
    number = scalars.double(value)
    if abs(number) >= _EXACT_INTEGERS:
        whole = value.removeprefix("-").isdigit()
        # Programs write a double with the fewest digits that mean it, which are not always all digits of its value.
        kept = decimal.Decimal(number) if whole else decimal.Decimal(repr(number))
        if kept != decimal.Decimal(value):
            raise scalars.Wrong("is too large to be kept exactly; send it as a string")
    return number


def _write_timestamp(value: timestamp_pb2.Timestamp) -> str:
    return scalars.time_text(value.seconds, value.nanos)


def _write_duration(value: duration_pb2.Duration) -> str:
    return scalars.duration_text(value.seconds, value.nanos)


def _write_mask(value: field_mask_pb2.FieldMask) -> str:
    return ",".join(map(names.camel, value.paths))


def _write_struct(value: struct_pb2.Struct) -> dict[str, Any]:
    # Protobuf keeps no order of keys, not even the same one in two processes; a repeated answer must be the same bytes.
    return {key: _write_value(item) for key, item in sorted(value.fields.items())}


def _write_list(value: struct_pb2.ListValue) -> list[Any]:
    return [_write_value(item) for item in value.values]


def _write_value(value: struct_pb2.Value) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "string_value":
        return value.string_value
    if kind == "number_value":
        return _plain_number(value.number_value)
    if kind == "bool_value":
        return value.bool_value
    if kind == "struct_value":
        return _write_struct(value.struct_value)
    return _write_list(value.list_value) if kind == "list_value" else None


def _plain_number(number: float) -> float | int | None:
    if not math.isfinite(number):
        return None  # The type forbids it, and JSON has no word for it.
    whole = number.is_integer() and abs(number) <= _EXACT_INTEGERS and str(number) != "-0.0"
    return int(number) if whole else number


READERS: Final[dict[str, Read]] = {
    f"{_PACKAGE}Timestamp": _checked(_read_timestamp),
    f"{_PACKAGE}Duration": _checked(_read_duration),
    f"{_PACKAGE}FieldMask": _checked(_read_mask),
    f"{_PACKAGE}Empty": _checked(_read_empty),
    f"{_PACKAGE}Struct": _read_struct,
    f"{_PACKAGE}ListValue": _read_list,
    f"{_PACKAGE}Value": _read_value,
    **{name: _wrapper_reader(field) for name, field in WRAPPED.items()},
}
"""Readers by the full name of the type."""

PLAIN_WRITERS: Final[dict[str, Write]] = {
    f"{_PACKAGE}Timestamp": _write_timestamp,
    f"{_PACKAGE}Duration": _write_duration,
    f"{_PACKAGE}FieldMask": _write_mask,
    f"{_PACKAGE}Empty": lambda _: {},
    f"{_PACKAGE}Struct": _write_struct,
    f"{_PACKAGE}ListValue": _write_list,
    f"{_PACKAGE}Value": _write_value,
}
"""Writers by the full name of the type; wrappers are shown as the field they wrap."""
