"""What may be wrong with one value of a request, by the rules of its field."""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import orjson
from google.protobuf import descriptor, field_mask_pb2, json_format, struct_pb2

from kobklein import card_numbers, enums, formats
from kobklein.options.v1 import options_pb2

FieldDescriptor = descriptor.FieldDescriptor
Wrong = Callable[[Any], str]
"""Returns the fault of a value; empty when it has none."""

CURRENCY: Final = "currency"
"""Name of the fields that hold an ISO 4217 code, and that give the amounts beside them their meaning."""
_ESCAPE: Final = re.compile(rb"\\(?:u[0-9a-f]{4}|.)")
"""An escape of JSON, whose letters and digits are none of the text."""
_NUL: Final = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
"""A NUL as JSON writes it; after a backslash that is escaped itself, the same letters are just letters."""
_MOST_BYTES_OF_JSON: Final = 6
"""Most bytes of a structure for a byte of its JSON: a number in a list can be two bytes there and eleven here."""
MAX_STRUCT_DEPTH: Final = 16
"""Deepest nesting of a free-form structure."""
MOST_MASK_PATHS: Final = 100
LONGEST_MASK_PATH: Final = 200
"""Most fields that a mask names, and the most characters of the name of one."""
_CARD_NUMBER: Final = "holds a card number, which must not be sent here"
_STRUCT: Final = struct_pb2.Struct.DESCRIPTOR.full_name
_MASK: Final = field_mask_pb2.FieldMask.DESCRIPTOR.full_name
INTEGERS: Final = frozenset(
    {
        FieldDescriptor.CPPTYPE_INT32,
        FieldDescriptor.CPPTYPE_INT64,
        FieldDescriptor.CPPTYPE_UINT32,
        FieldDescriptor.CPPTYPE_UINT64,
    }
)
"""Kinds of fields that hold whole numbers."""


def of(field: FieldDescriptor, rules: options_pb2.FieldRules) -> Wrong | None:
    """Return the check of a field's value, or of each item of a list; None for a field that takes every value."""
    if field.name == CURRENCY and field.type == FieldDescriptor.TYPE_STRING:
        return formats.of(options_pb2.FORMAT_CURRENCY).wrong
    if rules.format:
        return formats.of(rules.format).wrong
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING and field.type == FieldDescriptor.TYPE_STRING:
        return _text(rules)
    if field.cpp_type in INTEGERS and (rules.HasField("min") or rules.HasField("max")):
        return _number(rules)
    if field.enum_type is not None:
        return _known(field.enum_type, rules)
    if field.message_type is not None and field.message_type.full_name == _STRUCT:
        return _struct(rules)
    if field.message_type is not None and field.message_type.full_name == _MASK:
        return lambda mask: mask_fault(mask.paths)
    return None


def _text(rules: options_pb2.FieldRules) -> Wrong:
    matches = re.compile(rules.pattern).fullmatch if rules.pattern else None
    longest, shortest = rules.max_length or math.inf, rules.min_length
    bounds = f"{{{shortest},{rules.max_length or ''}}}"
    says_something = rules.required and not rules.pattern
    anything = r"(?s:.*\S.*)" if says_something else "(?s:.*)"
    fits = re.compile(rf"(?=[^\0]{bounds}\Z)(?:{rules.pattern or anything})").fullmatch

    def wrong(text: str) -> str:
        if fits(text):  # All of it in one step, since most texts are right.
            return _CARD_NUMBER if rules.free_text and card_numbers.stands_in(text) else ""
        if len(text) > longest:
            return f"is longer than {longest} characters"
        if len(text) < shortest:
            return f"is shorter than {shortest} characters"
        if "\x00" in text:
            return "contains a NUL character"
        if says_something and not text.strip():
            return "is blank"
        if matches is not None and matches(text) is None:
            return f"must be {rules.hint}" if rules.hint else f"does not match {rules.pattern}"
        return ""

    return wrong


def _number(rules: options_pb2.FieldRules) -> Wrong:
    least = rules.min if rules.HasField("min") else -math.inf
    most = rules.max if rules.HasField("max") else math.inf

    def wrong(number: int) -> str:
        if number < least:
            return f"must be at least {_bound(int(least), rules)}"
        if number > most:
            return f"must be at most {_bound(int(most), rules)}"
        return ""

    return wrong


def _bound(number: int, rules: options_pb2.FieldRules) -> str:
    return f"{number} minor unit{'' if number == 1 else 's'}" if rules.minor_units else str(number)


def _known(enum_type: descriptor.EnumDescriptor, rules: options_pb2.FieldRules) -> Wrong:
    allowed = allowed_values(enum_type, rules)
    numbers, expected = frozenset(allowed.values()), not_one_of(allowed)
    return lambda number: "" if number in numbers else expected


def allowed_values(enum_type: descriptor.EnumDescriptor, rules: options_pb2.FieldRules) -> Mapping[str, int]:
    """Return the values that a request may give in a field, by their bare names."""
    numbers = enums.numbers(enum_type)
    return {name: numbers[name] for name in rules.allowed} if rules.allowed else numbers


def not_one_of(names: Iterable[str]) -> str:
    """Return the fault of a value that is none of these."""
    return f"is not one of {', '.join(names)}"


def too_many_bytes(most: int) -> str:
    """Return the refusal of free data whose JSON is longer than it may be."""
    return f"takes more than {most} bytes"


def mask_fault(paths: Sequence[str]) -> str:
    """Return the fault in the size of a mask; empty when it has none."""
    if len(paths) > MOST_MASK_PATHS:
        return f"names {len(paths)} fields, more than {MOST_MASK_PATHS}"
    if max(map(len, paths), default=0) > LONGEST_MASK_PATH:
        return f"has a name that is longer than {LONGEST_MASK_PATH} characters"
    return ""


def _struct(rules: options_pb2.FieldRules) -> Wrong:
    def wrong(struct: struct_pb2.Struct) -> str:
        if rules.max_bytes and struct.ByteSize() > _MOST_BYTES_OF_JSON * rules.max_bytes:
            return too_many_bytes(rules.max_bytes)  # Before it is looked at: a request by gRPC may be long.
        if rules.max_items and len(struct.fields) > rules.max_items:
            return f"has more than {rules.max_items} keys"
        if _depth(struct) > MAX_STRUCT_DEPTH:
            return f"is nested deeper than {MAX_STRUCT_DEPTH} levels"
        try:
            text = orjson.dumps(json_format.MessageToDict(struct))
        except (ValueError, json_format.SerializeToJsonError):
            return "holds a number that JSON cannot"
        if rules.max_bytes and len(text) > rules.max_bytes:
            return too_many_bytes(rules.max_bytes)
        if _NUL.search(text):
            return "contains a NUL character"
        return _CARD_NUMBER if card_numbers.stands_in(_ESCAPE.sub(b"\n", text).decode()) else ""

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
