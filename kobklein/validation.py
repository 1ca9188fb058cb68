"""The check of a message against the rules of its fields, compiled once per message type."""

import functools
import math
import operator
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import orjson
from google.protobuf import descriptor, field_mask_pb2, json_format, message, struct_pb2

from kobklein import enums, errors, money
from kobklein.options.v1 import options_pb2

_NUL: Final = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
"""A NUL as JSON writes it; after a backslash that is escaped itself, the same letters are just letters."""
MAX_STRUCT_DEPTH: Final = 16
"""Deepest nesting of a free-form structure."""

MOST_MASK_PATHS: Final = 100
LONGEST_MASK_PATH: Final = 200
"""Most fields that a mask names, and the most characters of the name of one."""

FieldDescriptor = descriptor.FieldDescriptor
Check = Callable[[Any, str, list[errors.Violation]], None]
"""Adds what is wrong with one field of the message; the string is the path of the message itself, with a dot."""
Wrong = Callable[[Any], str]
"""Returns what is wrong with a value; empty when nothing is."""

_MANY: Final = 10
"""From how many messages on it pays to look at them field by field."""
_CURRENCY: Final = "currency"
"""Name of the fields that hold an ISO 4217 code, and that give the amounts beside them their meaning."""
_STRUCT: Final = struct_pb2.Struct.DESCRIPTOR.full_name
_MASK: Final = field_mask_pb2.FieldMask.DESCRIPTOR.full_name
_INTEGERS: Final = frozenset(
    {
        FieldDescriptor.CPPTYPE_INT32,
        FieldDescriptor.CPPTYPE_INT64,
        FieldDescriptor.CPPTYPE_UINT32,
        FieldDescriptor.CPPTYPE_UINT64,
    }
)


def check(request: message.Message) -> None:
    """Fill the defaults of `request` in and check it.

    Raises InvalidArgument that names every offending field, or as many as a refusal may name.
    """
    violations: list[errors.Violation] = []
    _validator(request.DESCRIPTOR).check(request, "", violations)
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


def is_hidden(field: descriptor.FieldDescriptor, *, given: bool) -> bool:
    """Whether a field only goes the other way: in answers when its message is given by a client, else in requests."""
    rules = rules_of(field)
    return rules.output_only if given else rules.input_only


def holds_ours(field: FieldDescriptor) -> bool:
    """Whether the field holds messages of a contract of ours, whose fields have rules of their own."""
    return field.message_type is not None and not field.message_type.full_name.startswith("google.")


class _Rule(NamedTuple):
    """What one field of a message is checked for."""

    name: str
    presence: bool
    """Whether the field knows an empty value from a missing one."""
    required: bool
    priced: bool
    """Whether its amount means nothing without the currency beside it."""
    wrong: Wrong | None


class _Columns:
    """The checks of a message type for many messages at once, which tell only whether all is right.

    They go field by field, and look at a value that repeats once: a fraction of the time for a call with thousands.
    """

    def __init__(self, rules: Iterable[_Rule]) -> None:
        self._plain = [rule for rule in rules if not rule.presence]
        self._present = [rule for rule in rules if rule.presence]
        self._values = operator.attrgetter(*(rule.name for rule in self._plain), _CURRENCY)

    def right(self, messages: Sequence[Any]) -> bool:
        """Return whether nothing is wrong with any of the messages."""
        *columns, currencies = map(set, zip(*map(self._values, messages), strict=True))
        return all(
            not (rule.required and not all(values))
            and not (rule.priced and not all(currencies))
            and (rule.wrong is None or not any(map(rule.wrong, filter(None, values))))
            for rule, values in zip(self._plain, columns, strict=True)
        ) and all(self._fits(rule, message) for rule in self._present for message in messages)

    @staticmethod
    def _fits(rule: _Rule, message: Any) -> bool:
        if not message.HasField(rule.name):
            return not rule.required
        return rule.wrong is None or not rule.wrong(getattr(message, rule.name))


class _Validator:
    """The checks of one message type, in the order of its fields."""

    def __init__(self, message_type: descriptor.Descriptor) -> None:
        fields = [(field, rules_of(field)) for field in message_type.fields]
        self._defaults = [(field.name, rules.default_value) for field, rules in fields if rules.default_value]
        self._rules = [rule for field, rules in fields for rule in _field_rules(field, rules)]
        self._items = [
            (field.name, wrong)
            for field, rules in fields
            if field.is_repeated and not is_map(field) and not rules.output_only
            if (wrong := _kind_check(field, rules)) is not None
        ]
        self._maps = [_entries(field, rules) for field, rules in fields if is_map(field) and not rules.output_only]
        self._nested = [
            (field.name, field.message_type, field.is_repeated)
            for field in message_type.fields
            if holds_ours(field) and not is_map(field)
        ]
        flat = not any(field.is_repeated for field in message_type.fields) and not self._defaults and not self._nested
        self._columns = _Columns(self._rules) if flat and _CURRENCY in message_type.fields_by_name else None

    def check(self, value: Any, path: str, found: list[errors.Violation]) -> None:
        """Fill the defaults of a message in, and add what is wrong with it; `path` is its own, with a dot."""
        for name, default in self._defaults:
            if not getattr(value, name):
                setattr(value, name, default)
        self._check_fields(value, path, found)
        for name, wrong in self._items:
            for index, item in enumerate(getattr(value, name)):
                if description := wrong(item):
                    found.append(errors.Violation(f"{path}{name}[{index}]", description))
        for check_entries in self._maps:
            check_entries(value, path, found)
        self._check_nested(value, path, found)

    def check_all(self, values: Sequence[Any], path: str, found: list[errors.Violation]) -> None:
        """Check the messages of a repeated field, whose path this is."""
        if len(values) >= _MANY and self._columns is not None and self._columns.right(values):
            return
        for index, item in enumerate(values):
            if len(found) >= errors.MOST_VIOLATIONS:
                return
            self.check(item, f"{path}[{index}].", found)

    def _check_fields(self, value: Any, path: str, found: list[errors.Violation]) -> None:
        for name, presence, required, priced, wrong in self._rules:
            content = getattr(value, name) if not presence or value.HasField(name) else None
            if content is None or not (content or presence):
                if required:
                    found.append(errors.Violation(path + name, "is required"))
                continue
            if priced and not getattr(value, _CURRENCY, ""):
                found.append(errors.Violation(path + _CURRENCY, f"is required with {name}"))
            if wrong is not None and (description := wrong(content)):
                found.append(errors.Violation(path + name, description))

    def _check_nested(self, value: Any, path: str, found: list[errors.Violation]) -> None:
        for name, message_type, repeated in self._nested:
            if repeated:
                _validator(message_type).check_all(getattr(value, name), path + name, found)
            elif value.HasField(name):
                _validator(message_type).check(getattr(value, name), f"{path}{name}.", found)


@functools.cache
def _validator(message_type: descriptor.Descriptor) -> _Validator:
    return _Validator(message_type)


def _field_rules(field: FieldDescriptor, rules: options_pb2.FieldRules) -> Iterator[_Rule]:
    if rules.output_only:
        yield _Rule(field.name, field.has_presence, False, False, lambda _: "is set by the service")
        return
    wrong = _kind_check(field, rules) if not field.is_repeated else _most_items(rules) if rules.max_items else None
    if rules.required or rules.minor_units or wrong is not None:
        yield _Rule(field.name, field.has_presence, rules.required, rules.minor_units, wrong)


def _kind_check(field: FieldDescriptor, rules: options_pb2.FieldRules) -> Wrong | None:
    if field.name == _CURRENCY and field.type == FieldDescriptor.TYPE_STRING:
        return _known_currency
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING and field.type == FieldDescriptor.TYPE_STRING:
        return _text(rules)
    if field.cpp_type in _INTEGERS and (rules.HasField("min") or rules.HasField("max")):
        return _number(rules)
    if field.enum_type is not None:
        return _known(field.enum_type, rules)
    if field.message_type is not None and field.message_type.full_name == _STRUCT:
        return _struct(rules)
    if field.message_type is not None and field.message_type.full_name == _MASK:
        return _mask
    return None


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
                _validator(nested).check(item, f"{path}{name}.{key}.", found)

    return entries


def _most_items(rules: options_pb2.FieldRules) -> Wrong:
    most = rules.max_items
    return lambda items: f"has more than {most} items" if len(items) > most else ""


def _text(rules: options_pb2.FieldRules) -> Wrong:
    matches = re.compile(rules.pattern).fullmatch if rules.pattern else None
    longest, shortest = rules.max_length or math.inf, rules.min_length
    bounds = f"{{{shortest},{rules.max_length or ''}}}"
    says_something = rules.required and not rules.pattern
    anything = r"(?s:.*\S.*)" if says_something else "(?s:.*)"
    fits = re.compile(rf"(?=[^\0]{bounds}\Z)(?:{rules.pattern or anything})").fullmatch

    def wrong(text: str) -> str:
        if fits(text):  # All of it in one step, since most texts are right.
            return ""
        if len(text) > longest:
            return f"is longer than {longest} characters"
        if len(text) < shortest:
            return f"is shorter than {shortest} characters"
        if "\x00" in text:
            return "contains a NUL character"
        if says_something and not text.strip():
            return "is blank"
        if matches is not None and matches(text) is None:
            return f"does not match {rules.pattern}"
        return ""

    return wrong


def _known_currency(code: str) -> str:
    return "" if code in money.currencies() else "is not a currency of ISO 4217"


def _number(rules: options_pb2.FieldRules) -> Wrong:
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


def _known(enum_type: descriptor.EnumDescriptor, rules: options_pb2.FieldRules) -> Wrong:
    known = frozenset(enum_type.values_by_number)
    if not rules.allowed:
        return lambda number: "" if number in known else f"{number} is not a known value"
    numbers = enums.numbers(enum_type)
    allowed, expected = frozenset(numbers[name] for name in rules.allowed), f"is not one of {', '.join(rules.allowed)}"
    return lambda number: "" if number in allowed else expected


def too_many_bytes(most: int) -> str:
    """Return what is said of free data whose JSON is longer than it may be."""
    return f"takes more than {most} bytes"


def _mask(mask: field_mask_pb2.FieldMask) -> str:
    return mask_fault(mask.paths)


def mask_fault(paths: Sequence[str]) -> str:
    """Return what is wrong with the size of a mask; empty when nothing is."""
    if len(paths) > MOST_MASK_PATHS:
        return f"names {len(paths)} fields, more than {MOST_MASK_PATHS}"
    if max(map(len, paths), default=0) > LONGEST_MASK_PATH:
        return f"has a name that is longer than {LONGEST_MASK_PATH} characters"
    return ""


def _struct(rules: options_pb2.FieldRules) -> Wrong:
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
            return too_many_bytes(rules.max_bytes)
        return "contains a NUL character" if _NUL.search(text) else ""

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
