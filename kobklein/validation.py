"""The check of a message against the rules of its fields, compiled once per message type."""

import functools
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from google.protobuf import descriptor, message

from kobklein import errors, formats, value_checks
from kobklein.options.v1 import options_pb2

FieldDescriptor = descriptor.FieldDescriptor
Check = Callable[[Any, str, list[errors.Violation]], None]
"""Adds what is wrong with one field of the message; the string is the path of the message itself, with a dot."""

_MANY: Final = 10
"""From how many messages on it pays to look at them field by field."""
_UPDATE_MASK: Final = "update_mask"
"""Name of the field that says which fields of the resource beside it a request changes."""


def check(request: message.Message) -> None:
    """Fill the defaults of `request` in, put values into the one spelling of their format, and check it.

    A request that changes a resource by a mask may hold fields that the service sets: they are taken out of
    the resource and of the mask (AIP-203), so that a client may send a resource back as it was read.

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


def _stays_wrong(_: Any) -> str:
    return ""


class _Rule(NamedTuple):
    """What one field of a message is checked for."""

    name: str
    presence: bool
    """Whether the field knows an empty value from a missing one."""
    required: bool
    priced: bool
    """Whether its amount means nothing without the currency beside it."""
    wrong: value_checks.Wrong | None
    respelled: Callable[[str], str] = _stays_wrong
    """Returns how a wrong value is spelled in its format; empty for one that stays wrong."""


class _Columns:
    """The checks of a message type for many messages at once, which tell only whether all is right.

    They go field by field, and look at a value that repeats once: a fraction of the time for a call with thousands.
    """

    def __init__(self, rules: Iterable[_Rule]) -> None:
        self._plain = [rule for rule in rules if not rule.presence]
        self._present = [rule for rule in rules if rule.presence]
        self._values = operator.attrgetter(*(rule.name for rule in self._plain), value_checks.CURRENCY)

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

    def __init__(self, message_type: descriptor.Descriptor, *, patched: bool) -> None:
        fields = [(field, rules_of(field)) for field in message_type.fields]
        self._cleared = [field.name for field, rules in fields if patched and rules.output_only]
        fields = [(field, rules) for field, rules in fields if field.name not in self._cleared]
        self._mask_of = _masked(message_type)
        self._patched = patched or self._mask_of is not None
        self._defaults = [(field.name, rules.default_value) for field, rules in fields if rules.default_value]
        self._rules = [rule for field, rules in fields for rule in _field_rules(field, rules)]
        self._items = [
            (field.name, wrong, _respelling(rules))
            for field, rules in fields
            if field.is_repeated and not is_map(field) and not rules.output_only
            if (wrong := value_checks.of(field, rules)) is not None
        ]
        self._maps = [_entries(field, rules) for field, rules in fields if is_map(field) and not rules.output_only]
        self._nested = [
            (field.name, field.message_type, field.is_repeated)
            for field, _ in fields
            if holds_ours(field) and not is_map(field)
        ]
        flat = not any(field.is_repeated for field in message_type.fields) and not self._defaults and not self._nested
        self._columns = _Columns(self._rules) if flat and value_checks.CURRENCY in message_type.fields_by_name else None

    def check(self, value: Any, path: str, found: list[errors.Violation]) -> None:
        """Make a message whole, and add its faults; `path` is its own, with a dot."""
        for name in self._cleared:
            value.ClearField(name)
        if self._mask_of is not None and value.HasField(_UPDATE_MASK):
            _leave_out_output_only(self._mask_of, value.update_mask.paths)
        for name, default in self._defaults:
            if not getattr(value, name):
                setattr(value, name, default)
        self._check_fields(value, path, found)
        for name, wrong, respelled in self._items:
            items = getattr(value, name)
            for index, item in enumerate(items):
                if description := wrong(item):
                    if spelling := respelled(item):
                        items[index] = spelling
                    else:
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
        for name, presence, required, priced, wrong, respelled in self._rules:
            content = getattr(value, name) if not presence or value.HasField(name) else None
            if content is None or not (content or presence):
                if required:
                    found.append(errors.Violation(path + name, "is required"))
                continue
            if priced and not getattr(value, value_checks.CURRENCY, ""):
                found.append(errors.Violation(path + value_checks.CURRENCY, f"is required with {name}"))
            if wrong is not None and (description := wrong(content)):
                if spelling := respelled(content):
                    setattr(value, name, spelling)
                else:
                    found.append(errors.Violation(path + name, description))

    def _check_nested(self, value: Any, path: str, found: list[errors.Violation]) -> None:
        for name, message_type, repeated in self._nested:
            if repeated:
                _validator(message_type, patched=self._patched).check_all(getattr(value, name), path + name, found)
            elif value.HasField(name):
                _validator(message_type, patched=self._patched).check(getattr(value, name), f"{path}{name}.", found)


@functools.cache
def _validator(message_type: descriptor.Descriptor, *, patched: bool = False) -> _Validator:
    """Return the checks of a message type; `patched` for a resource that a request changes by a mask."""
    return _Validator(message_type, patched=patched)


def _masked(message_type: descriptor.Descriptor) -> descriptor.Descriptor | None:
    """Return the resource whose fields the mask of a request names; None for a request without a mask."""
    if _UPDATE_MASK not in message_type.fields_by_name:
        return None
    resources = [field.message_type for field in message_type.fields if holds_ours(field) and not field.is_repeated]
    return resources[0] if len(resources) == 1 else None


def _leave_out_output_only(resource: descriptor.Descriptor, paths: Any) -> None:
    paths[:] = [path for path in paths if not is_output_only(resource, path)]


def is_output_only(message_type: descriptor.Descriptor, path: str) -> bool:
    """Whether a path in a mask names a field that the service sets, or something inside one."""
    current: descriptor.Descriptor | None = message_type
    for name in path.split("."):
        field = current.fields_by_name.get(name) if current is not None else None
        if field is None:
            return False
        if rules_of(field).output_only:
            return True
        current = field.message_type
    return False


def _field_rules(field: FieldDescriptor, rules: options_pb2.FieldRules) -> Iterator[_Rule]:
    if rules.output_only:
        yield _Rule(field.name, field.has_presence, False, False, lambda _: "is set by the service")
        return
    wrong = value_checks.of(field, rules) if not field.is_repeated else _most_items(rules) if rules.max_items else None
    if rules.required or rules.minor_units or wrong is not None:
        yield _Rule(field.name, field.has_presence, rules.required, rules.minor_units, wrong, _respelling(rules))


def _respelling(rules: options_pb2.FieldRules) -> Callable[[str], str]:
    return formats.of(rules.format).respelled if rules.format else _stays_wrong


def _entries(field: FieldDescriptor, rules: options_pb2.FieldRules) -> Check:
    """Return the check of each key and each value of a map; a wrong key is not repeated, since it may be endless."""
    name, (key_field, value_field) = field.name, map_entry(field)
    wrong_key, wrong_value = value_checks.of(key_field, rules_of_keys(rules)), value_checks.of(value_field, rules)
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


def _most_items(rules: options_pb2.FieldRules) -> value_checks.Wrong:
    most = rules.max_items
    return lambda items: f"has more than {most} items" if len(items) > most else ""
