"""JSON Schemas (2020-12, as OpenAPI 3.1 has them) of the contract's messages, as exact as its rules are."""

from collections.abc import Mapping
from typing import Any, Final

from google.protobuf import descriptor

from gateway import comments, examples, money_fields, openapi_names, wellknown
from kobklein import enums, formats, money, validation
from kobklein.options.v1 import options_pb2

FieldDescriptor = descriptor.FieldDescriptor
Schema = dict[str, Any]

_NO_NUL: Final = "^[^\\u0000]*$"
_SAYS_SOMETHING: Final = "^[^\\u0000]*[^\\s\\u0000][^\\u0000]*$"
_MOST_UNITS: Final = 10**money.MAX_DIGITS - 1
_DECIMALS: Final = 2
"""Decimals that money is described with; those of most currencies."""
_FLOAT: Final[Schema] = {"anyOf": [{"type": "number"}, {"enum": ["NaN", "Infinity", "-Infinity"]}]}
_KNOWN: Final[dict[str, Schema]] = {
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Duration": {"type": "string", "pattern": r"^-?[0-9]{1,12}(\.[0-9]{1,9})?s$"},
    "google.protobuf.FieldMask": {"type": "string", "description": "Names of fields, with commas."},
    "google.protobuf.Struct": {"type": "object", "additionalProperties": True},
    "google.protobuf.Value": {},
    "google.protobuf.ListValue": {"type": "array", "items": {}},
    "google.protobuf.Empty": {"type": "object", "additionalProperties": False},
}
_INTEGERS: Final[dict[int, tuple[str, int, int]]] = {
    FieldDescriptor.CPPTYPE_INT32: ("int32", -(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_UINT32: ("uint32", 0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_INT64: ("int64", -(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT64: ("uint64", 0, 2**64 - 1),
}
CURRENCIES: Final = ("Currency", "OptionalCurrency")
"""Schemas of what names a currency, where it must and where it may be left out."""
_WIDE: Final = (FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_UINT64)


class Schemas:
    """The schemas of one document.

    A message that is sent and received has two: fields that the service sets are no part of what a client may send,
    and what a client must send is not what an answer always holds.
    """

    def __init__(self, texts: Mapping[str, str], names: Mapping[openapi_names.Use, str]) -> None:
        """Take the contract's comments by full names, and the schemas' names."""
        self._texts = texts
        self._names = names
        self.components: dict[str, Schema] = {}

    def message(self, message_type: descriptor.Descriptor, *, given: bool) -> Schema:
        """Return the schema of a message by reference; `given` when clients send it, else services do."""
        known = self._well_known(message_type, given=given)
        if known is not None:
            return known
        name = self._names[message_type.full_name, given]
        if name not in self.components:
            self.components[name] = {}  # Known by name before its fields are, since messages may hold themselves.
            self.components[name] = self.object(message_type, given=given)
        return {"$ref": f"#/components/schemas/{name}"}

    def object(
        self, message_type: descriptor.Descriptor, *, given: bool, without: frozenset[str] = frozenset()
    ) -> Schema:
        """Return the schema of a message in place, `without` the fields that come by another way."""
        fields = [field for field in message_type.fields if field.name not in without]
        fields = [field for field in fields if not validation.is_hidden(field, given=given)]
        schema: Schema = {
            "type": "object",
            "properties": {field.json_name: self.field(field, given=given) for field in fields},
        }
        required = [field.json_name for field in fields if (_is_required if given else _is_always_shown)(field)]
        self._describe(schema, message_type.full_name)
        if required:
            schema["required"] = required
        if given:
            schema["additionalProperties"] = False
            schema |= _exclusions(message_type)
        return schema

    def field(self, field: FieldDescriptor, *, given: bool, text: bool = False) -> Schema:
        """Return the schema of a field; `text` for one that stands in a path or a query, where null is no value."""
        rules = validation.rules_of(field)
        schema = dict(self._container(field, rules, given=given, text=text))
        if given and not text and not rules.required and not wellknown.takes_null(field):
            schema = _or_null(schema)
        schema |= _notes(field, rules, given=given)
        self._describe(schema, f"{_owner(field)}.{field.name}")
        if given and rules.default_value:
            # No `default`: generators take a property that has one for one that is always there.
            said = schema.get("description", "")
            schema["description"] = f"{said} `{rules.default_value}` when absent.".strip()
        return schema

    def _container(self, field: FieldDescriptor, rules: options_pb2.FieldRules, *, given: bool, text: bool) -> Schema:
        if validation.is_map(field):
            return self._map(field, rules, given=given)
        single = self._single(field, rules, given=given, text=text)
        if not field.is_repeated:
            return single
        return {"type": "array", "items": single} | ({"maxItems": rules.max_items} if rules.max_items else {})

    def _map(self, field: FieldDescriptor, rules: options_pb2.FieldRules, *, given: bool) -> Schema:
        key, value = validation.map_entry(field)
        single = self._single(value, _rules_of_values(rules), given=given, text=True)
        schema: Schema = {"type": "object", "additionalProperties": single}
        if key.type == FieldDescriptor.TYPE_BOOL:
            schema["propertyNames"] = {"enum": ["true", "false"]}
        elif key.type != FieldDescriptor.TYPE_STRING:
            schema["propertyNames"] = {"pattern": "^-?[0-9]+$"}
        elif given:
            schema["propertyNames"] = _text(validation.rules_of_keys(rules), given=True)
        return schema | ({"maxProperties": rules.max_items} if rules.max_items and given else {})

    def _single(self, field: FieldDescriptor, rules: options_pb2.FieldRules, *, given: bool, text: bool) -> Schema:
        if field.message_type is not None:
            schema = self.message(field.message_type, given=given)
            return {**schema, "maxProperties": rules.max_items} if rules.max_items else schema
        if field.enum_type is not None and rules.allowed and given:
            return {"type": "string", "enum": list(rules.allowed)}
        if field.enum_type is not None:
            return self._enum(field.enum_type, given=given)
        if rules.minor_units:
            return _money(rules, given=given, text=text)
        if field.cpp_type in _INTEGERS:
            return _integer(field, rules, given=given, text=text)
        is_currency = field.name == money_fields.CURRENCY or rules.format == options_pb2.FORMAT_CURRENCY
        if is_currency and given:
            return self._currency(rules)
        if field.type == FieldDescriptor.TYPE_STRING:
            return _text(rules, given=given)
        if field.type == FieldDescriptor.TYPE_BYTES:
            return {"type": "string", "contentEncoding": "base64"}
        return {"type": "boolean"} if field.type == FieldDescriptor.TYPE_BOOL else dict(_FLOAT)

    def _currency(self, rules: options_pb2.FieldRules) -> Schema:
        name = CURRENCIES[0 if rules.required else 1]
        codes = [*sorted(money.currencies()), *([] if rules.required else [""])]
        self.components[name] = {"type": "string", "enum": codes, "description": "A currency of ISO 4217."}
        return {"$ref": f"#/components/schemas/{name}"}

    def _enum(self, enum_type: descriptor.EnumDescriptor, *, given: bool) -> Schema:
        values = enums.numbers(enum_type)
        if enum_type.full_name == "google.protobuf.NullValue":
            return {"type": "null"}
        name = self._names[enum_type.full_name, given]
        if name not in self.components:
            schema: Schema = {"type": "string", "enum": list(values)}
            lines = [self._value_line(enum_type, name, number) for name, number in values.items()]
            text = comments.paragraphs(self._texts.get(enum_type.full_name, ""))[0]
            schema["description"] = "\n".join([text, "", *lines]).strip()
            self.components[name] = schema
        return {"$ref": f"#/components/schemas/{name}"}

    def _value_line(self, enum_type: descriptor.EnumDescriptor, name: str, number: int) -> str:
        scope = enum_type.full_name
        text = self._texts.get(f"{scope}.{enum_type.values_by_number[number].name}", "")
        return f"- `{name}`: {comments.paragraphs(text)[0]}" if text else f"- `{name}`"

    def _well_known(self, message_type: descriptor.Descriptor, *, given: bool) -> Schema | None:
        wrapped = wellknown.WRAPPED.get(message_type.full_name)
        if wrapped is not None:
            return self._single(wrapped, validation.rules_of(wrapped), given=given, text=False)
        known = _KNOWN.get(message_type.full_name)
        return dict(known) if known is not None else None

    def _describe(self, schema: Schema, full_name: str) -> Schema:
        text = "\n\n".join(filter(None, comments.paragraphs(self._texts.get(full_name, ""))))
        if text:
            schema["description"] = text
        return schema


def _rules_of_values(rules: options_pb2.FieldRules) -> options_pb2.FieldRules:
    """Return what the rules of a map say of each value; unlike a field, a value is never absent."""
    found = options_pb2.FieldRules()
    found.CopyFrom(rules)
    found.ClearField("max_items")
    found.required = bool(rules.pattern or rules.format or rules.min_length)
    return found


def _owner(field: FieldDescriptor) -> str:
    return field.containing_type.full_name if field.containing_type is not None else ""


def _is_required(field: FieldDescriptor) -> bool:
    return validation.rules_of(field).required


def _is_always_shown(field: FieldDescriptor) -> bool:
    if field.is_repeated:
        return True
    return not field.has_presence and field.enum_type is None and not validation.rules_of(field).minor_units


def _or_null(schema: Schema) -> Schema:
    """Return the schema of a field that may also be null, which means the same as leaving it out."""
    kind = schema.get("type")
    if isinstance(kind, str) and "enum" not in schema:
        return {**schema, "type": [kind, "null"]}
    if isinstance(kind, list):
        return {**schema, "type": [*kind, "null"]}
    return {"anyOf": [schema, {"type": "null"}]} if schema else schema


def _notes(field: FieldDescriptor, rules: options_pb2.FieldRules, *, given: bool) -> Schema:
    notes: Schema = {}
    if rules.output_only and not given:
        notes["readOnly"] = True
    if rules.input_only and given:
        notes["writeOnly"] = True
    example = examples.stated(field)
    if example is not examples.ABSENT:
        notes["examples"] = [example]
    return notes


def _exclusions(message_type: descriptor.Descriptor) -> Schema:
    """Return what keeps two members of one oneof apart."""
    pairs = [
        [one.json_name, other.json_name]
        for oneof in message_type.oneofs
        for at, one in enumerate(oneof.fields)
        for other in list(oneof.fields)[at + 1 :]
    ]
    return {"allOf": [{"not": {"required": pair}} for pair in pairs]} if pairs else {}


def _money(rules: options_pb2.FieldRules, *, given: bool, text: bool) -> Schema:
    if not given:
        return {"type": "string", "pattern": rf"^-?[0-9]{{1,{money.MAX_DIGITS}}}(\.[0-9]{{1,3}})?$"}
    least = rules.min if rules.HasField("min") else -_MOST_UNITS
    most = rules.max if rules.HasField("max") else _MOST_UNITS
    start = "-?" if least < 0 else "(?=.*[1-9])" if least > 0 else ""
    digits = money.MAX_DIGITS - _DECIMALS
    decimal = {"type": "string", "pattern": rf"^{start}[0-9]{{1,{digits}}}(\.[0-9]{{1,{_DECIMALS}}})?$"}
    if text:
        return decimal
    units = 10**_DECIMALS
    number = {"type": "number", "minimum": least / units, "maximum": most / units, "multipleOf": 1 / units}
    return {"anyOf": [decimal, number]}


def _integer(field: FieldDescriptor, rules: options_pb2.FieldRules, *, given: bool, text: bool) -> Schema:
    name, least, most = _INTEGERS[field.cpp_type]
    if not given and field.cpp_type in _WIDE:
        return {"type": "string", "format": name, "pattern": "^-?[0-9]+$"}
    schema: Schema = {"type": "integer", "format": name}
    if given:
        schema["minimum"] = rules.min if rules.HasField("min") else least
        schema["maximum"] = rules.max if rules.HasField("max") else most
    return {**schema, "type": ["integer", "string"], "pattern": "^-?[0-9]+$"} if given and not text else schema


def _text(rules: options_pb2.FieldRules, *, given: bool) -> Schema:
    schema: Schema = {"type": "string"}
    if not given:
        return schema
    if rules.max_length:
        schema["maxLength"] = rules.max_length
    if rules.required:
        schema["minLength"] = max(1, rules.min_length)
    pattern = formats.of(rules.format).pattern if rules.format else rules.pattern
    if pattern:  # An optional text may be empty, which means the same as leaving it out.
        schema["pattern"] = f"^({pattern})$" if rules.required else f"^({pattern})?$"
    else:
        schema["pattern"] = _SAYS_SOMETHING if rules.required else _NO_NUL
    return schema
