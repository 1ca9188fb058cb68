"""JSON to messages and back: nothing lost, nothing rounded, and the same meaning as protobuf's own mapping."""

import contextlib
import json
import math
from typing import Any

import pytest
from google.protobuf import any_pb2, json_format, struct_pb2
from hypothesis import given
from hypothesis import strategies as st

from gateway import documents, money_fields, reader, scalars, wellknown, writer
from gateway.violations import MOST, Violations
from kobklein import money
from kobklein.payments.v1 import payments_pb2
from kobklein.wallets.v1 import conversions_pb2
from tests.gateways import gallery_pb2 as pb

INT64 = st.integers(-(2**63), 2**63 - 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
FINITE = st.floats(allow_nan=False)
NANOS = st.sampled_from([0, 1, 1_000, 500_000_000, 123_456_789])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


def read(kind: type[Any], text: str | bytes) -> tuple[Any, dict[str, str]]:
    """Return the message that a JSON document is, and what is wrong with it."""
    message, violations = kind(), Violations()
    document = documents.parse(text.encode() if isinstance(text, str) else text)
    reader.of(kind.DESCRIPTOR)(message, document, "", violations)
    return message, {violation.field: violation.description for violation in violations.found}


def written(message: Any) -> bytes:
    return writer.dumps(writer.of(message.DESCRIPTOR)(message))


@given(st.permutations([f"key {number}" for number in range(20)]))
def test_free_data_is_shown_in_one_order_whatever_order_it_came_in(keys: list[str]) -> None:
    struct = struct_pb2.Struct()
    struct.update({key: dict.fromkeys(reversed(keys), 1) for key in keys})
    shown = wellknown.PLAIN_WRITERS[struct.DESCRIPTOR.full_name](struct)
    assert list(shown) == sorted(keys)
    assert all(list(inner) == sorted(keys) for inner in shown.values())


@st.composite
def everything(draw: st.DrawFn, *, enums: bool = True, depth: int = 2) -> Any:
    """Any message with a field of every kind."""
    message = pb.Everything(
        small=draw(st.integers(-(2**31), 2**31 - 1)),
        large=draw(INT64),
        small_natural=draw(st.integers(0, 2**32 - 1)),
        large_natural=draw(st.integers(0, 2**64 - 1)),
        single=draw(st.floats(width=32, allow_nan=False)),
        twice=draw(FINITE),
        flag=draw(st.booleans()),
        text=draw(TEXT),
        data=draw(st.binary(max_size=8)),
        numbers=draw(st.lists(INT64, max_size=3)),
        counts=draw(st.dictionaries(TEXT, st.integers(-5, 5), max_size=3)),
        answers=draw(st.dictionaries(st.booleans(), TEXT, max_size=2)),
    )
    if enums:
        message.style = draw(st.sampled_from([0, 1, 2]))
        message.styles.extend(draw(st.lists(st.sampled_from([1, 2]), max_size=3)))
        message.styles_by_name.update(draw(st.dictionaries(TEXT, st.sampled_from([1, 2]), max_size=2)))
    if draw(st.booleans()):
        message.maybe, message.perhaps = draw(TEXT), draw(st.integers(-1, 1))
    if draw(st.booleans()):
        message.time.seconds = draw(st.integers(-62135596800, 253402300799))
        message.time.nanos = draw(NANOS)
        message.duration.seconds, message.duration.nanos = draw(st.sampled_from([(0, 0), (1, 5), (-1, -5), (0, -1)]))
        message.wrapped_number.value = draw(INT64)
        message.wrapped_text.value = draw(TEXT)
    if draw(st.booleans()):
        json_format.ParseDict(draw(st.dictionaries(TEXT, JSON, max_size=3)), message.structure)
        json_format.ParseDict(draw(JSON), message.value)
    if draw(st.booleans()):
        message.right.full_name = draw(TEXT)
    if depth and draw(st.booleans()):
        message.child.CopyFrom(draw(everything(enums=enums, depth=depth - 1)))
    return message


@given(everything())
def test_a_message_survives_the_way_out_and_in(message: Any) -> None:
    assert read(pb.Everything, written(message)) == (message, {})


@given(everything(enums=False))
def test_what_is_written_means_the_same_to_protobufs_own_json(message: Any) -> None:
    assert json_format.Parse(written(message), pb.Everything()) == message


@given(everything(enums=False))
def test_what_protobufs_own_json_writes_is_read(message: Any) -> None:
    assert read(pb.Everything, json_format.MessageToJson(message)) == (message, {})


@given(everything())
def test_either_spelling_of_a_field_is_read(message: Any) -> None:
    def respelled(value: Any, kind: Any) -> Any:
        names = {field.json_name: field.name for field in kind.fields}
        return {names[key]: item for key, item in value.items()}

    shown = respelled(json.loads(written(message)), message.DESCRIPTOR)
    assert read(pb.Everything, json.dumps(shown)) == (message, {})


@given(st.integers(0, 10**15 - 1), st.sampled_from(["HTG", "JPY", "KWD"]))
def test_money_survives_as_text_and_as_a_number(amount: int, currency: str) -> None:
    text = money.render(amount, currency)
    for shown in (text, json.dumps(text)):
        message, wrong = read(pb.Painting, f'{{"price": {shown}, "currency": "{currency}"}}')
        assert (message.price, wrong) == (amount, {})
    assert json.loads(written(pb.Painting(price=amount, currency=currency)))["price"] == text


def test_the_currency_may_come_after_the_amount_or_not_at_all() -> None:
    assert read(pb.Painting, '{"price": "5", "currency": "JPY"}')[0].price == 5
    assert read(pb.Painting, '{"price": "5"}')[0].price == 500


def test_money_without_a_currency_is_not_shown() -> None:
    assert "price" not in json.loads(written(pb.Painting(price=5)))


def test_unspecified_is_never_shown_and_unknown_numbers_are_shown_as_such() -> None:
    shown = json.loads(written(pb.Everything(style=0, styles=[0, 1, 7], styles_by_name={"a": 0})))
    assert "style" not in shown
    assert shown["styles"] == ["OIL", 7]


def test_absent_messages_and_optional_fields_are_left_out_and_empty_scalars_are_shown() -> None:
    shown = json.loads(written(pb.Painting()))
    assert shown == {"id": "", "title": "", "currency": "", "tags": [], "etag": ""}


def test_what_belongs_to_requests_is_read_and_never_shown() -> None:
    message, wrong = read(pb.Painting, '{"dedication": "To Ana"}')
    assert (message.dedication, wrong) == ("To Ana", {})
    assert "dedication" not in json.loads(written(message))


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ('{"small": 2147483648}', {"small": "is not between -2147483648 and 2147483647"}),
        ('{"small": 1.5}', {"small": "is not a whole number"}),
        ('{"small": "1.0"}', {"small": "is not a whole number"}),
        ('{"small": 01}', None),
        ('{"small": true}', {"small": "is not a whole number"}),
        ('{"small": 1e999999999}', {"small": "is not a whole number"}),
        ('{"large": 9223372036854775808}', {"large": "is not between -9223372036854775808 and 9223372036854775807"}),
        ('{"smallNatural": -1}', {"small_natural": "is not between 0 and 4294967295"}),
        ('{"single": 1e39}', {"single": "is not a number within range"}),
        ('{"twice": "1_0"}', {"twice": "is not a number"}),
        ('{"twice": NaN}', {"twice": "is not a number"}),
        ('{"flag": "true"}', {"flag": "is not true or false"}),
        ('{"text": 1}', {"text": "is not a string"}),
        ('{"data": "%"}', {"data": "is not base64"}),
        ('{"time": "2024-02-30T00:00:00Z"}', {"time": "is not a time that exists"}),
        ('{"time": "2024-01-31"}', {"time": "is not a time of RFC 3339, such as 2024-01-31T12:00:00Z"}),
        ('{"time": "0001-01-01T00:00:00+01:00"}', {"time": "is not within the years 1 to 9999"}),
        ('{"duration": "1m"}', {"duration": "is not a duration in seconds, such as 1.5s"}),
        ('{"left": "a", "right": {}}', {"right": "excludes left"}),
        ('{"maybe": "a", "maybe": "b"}', {"maybe": "is given more than once"}),
        ('{"smallFixed": 1, "small_fixed": 2}', {"small_fixed": "is given more than once"}),
        ('{"child": {"child": {"text": 1}}}', {"child.child.text": "is not a string"}),
        ('{"child": []}', {"child": "is not an object"}),
        ('{"children": {}}', {"children": "is not a list"}),
        ('{"children": [{}, {"text": 1}]}', {"children[1].text": "is not a string"}),
        ('{"counts": {"a": "b", "c": 1}}', {"counts.a": "is not a whole number"}),
        ('{"artists": {"x": {}}}', {"artists.x": "is not a whole number"}),
        ('{"answers": {"yes": ""}}', {"answers.yes": "is not true or false"}),
        ('{"structure": {"a": {"a": 1, "a": 2}}}', {"structure.a.a": "is given more than once"}),
        ('{"nil": {"a": 1}}', {"nil": "is not an empty object"}),
        ('{"wrappedNumber": "x"}', {"wrapped_number": "is not a whole number"}),
    ],
)
def test_a_value_that_does_not_fit_is_named(body: str, wrong: dict[str, str] | None) -> None:
    if wrong is None:
        with pytest.raises(documents.Malformed):
            documents.parse(body.encode())
    else:
        assert read(pb.Everything, body)[1] == wrong


@pytest.mark.parametrize(
    ("text", "number"), [("1.0", 1), ("1e2", 100), ("1E+2", 100), ("-0", 0), ("10e-1", 1), ('"7"', 7)]
)
def test_a_whole_number_may_be_written_as_json_likes(text: str, number: int) -> None:
    assert read(pb.Everything, f'{{"small": {text}}}') == (pb.Everything(small=number), {})


def test_null_is_absence_except_where_it_is_a_value() -> None:
    message, wrong = read(pb.Everything, '{"text": null, "child": null, "left": null, "value": null, "nothing": null}')
    expected = pb.Everything(value=struct_pb2.Value(null_value=struct_pb2.NULL_VALUE), nothing=struct_pb2.NULL_VALUE)
    assert (message, wrong) == (expected, {})


def test_the_words_of_infinity_and_nan_are_strings() -> None:
    message, _ = read(pb.Everything, '{"twice": "-Infinity", "single": "NaN"}')
    assert (message.twice, math.isnan(message.single)) == (-math.inf, True)
    assert json.loads(written(message))["twice"] == "-Infinity"


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_single_precision_is_shown_with_the_fewest_digits(number: float) -> None:
    shown = scalars.float32_value(number)
    assert len(str(shown)) <= len(str(number))
    assert pb.Everything(single=float(shown)).single == number


@given(JSON)
def test_free_data_comes_back_as_it_was(value: Any) -> None:
    body = json.dumps({"structure": {"a": value}})
    message, wrong = read(pb.Everything, body)
    assert wrong == {}
    assert json.loads(written(message))["structure"] == {"a": value}


@pytest.mark.parametrize("number", ["9007199254740993", "-9007199254740993"])
@pytest.mark.parametrize("ending", ["", ".0", ".000", "e0", "E+0", ".5", "0e-1"])
def test_a_number_that_a_double_cannot_keep_is_refused_however_it_is_written(number: str, ending: str) -> None:
    wrong = read(pb.Everything, f'{{"structure": {{"a": {number}{ending}}}}}')[1]
    assert wrong == {"structure.a": "is too large to be kept exactly; send it as a string"}


@pytest.mark.parametrize(
    "number", ["9007199254740992", "9007199254740992.0", "9007199254740994e0", "1e300", "0.1", "-0.0"]
)
def test_a_number_that_a_double_keeps_is_taken(number: str) -> None:
    message, wrong = read(pb.Everything, f'{{"structure": {{"a": {number}}}}}')
    assert (message.structure["a"], wrong) == (float(number), {})


@pytest.mark.parametrize(
    "style",
    [
        '"WATER_COLOUR"',
        '"water_colour"',
        '"waterColour"',
        '"PAINTING_STYLE_WATER_COLOUR"',
        '"Painting_Style_water_colour"',
        "2",
        '"2"',
    ],
)
def test_a_value_of_an_enum_is_taken_in_any_spelling_and_by_number(style: str) -> None:
    body = f'{{"style": {style}, "styles": [{style}], "stylesByName": {{"a": {style}}}}}'
    message, wrong = read(pb.Everything, body)
    assert (message.style, list(message.styles), dict(message.styles_by_name), wrong) == (2, [2], {"a": 2}, {})
    assert json.loads(written(message))["style"] == "WATER_COLOUR"


@pytest.mark.parametrize(
    "style",
    ["0", '"0"', "77", "-1", "2.0", '"02"', "true", '"UNSPECIFIED"', '"PAINTING_STYLE_UNSPECIFIED"', '"acrylic"', '""'],
)
def test_what_is_no_value_of_an_enum_is_refused_with_those_that_are(style: str) -> None:
    assert read(pb.Everything, f'{{"style": {style}}}')[1] == {"style": "is not one of OIL, WATER_COLOUR"}
    wrong = read(pb.Frame, f'{{"styles": [{style}, "water_colour", 2, "oil", 1]}}')[1]
    assert wrong == dict.fromkeys(("styles[0]", "styles[1]", "styles[2]"), "is not one of OIL")


@pytest.mark.parametrize(
    ("amount", "currency", "detail"),
    [
        ("0", "USD", "must be more than 0"),
        ("0.00", "HTG", "must be more than 0"),
        ("-5", "USD", "must be at least 0.01 USD"),
        ("-1", "JPY", "must be at least 1 JPY"),
        ("-0.001", "KWD", "must be at least 0.001 KWD"),
        ("10000000000000", "USD", "has more than 15 digits"),
        ("9999999999999.99", "USD", None),
        ("999999999999.999", "KWD", None),
        ("999999999999999", "JPY", None),
        ("1", "usd", "is not a currency of ISO 4217; write USD"),
    ],
)
def test_the_bounds_of_an_amount_are_told_in_the_units_of_the_client(amount: str, currency: str, detail: str) -> None:
    message, wrong = read(payments_pb2.CreatePaymentRequest, f'{{"amount": {amount}, "currency": "{currency}"}}')
    assert list(wrong.values()) == ([detail] if detail else [])
    assert detail or message.amount == int(amount.replace(".", ""))


@pytest.mark.parametrize("currency", ["usd", "gourdes", 5])
@pytest.mark.parametrize(
    ("amount", "detail"),
    [
        ("abc", "is not a plain decimal number, such as 100.00"),
        ("1e2", "is not a plain decimal number, such as 100.00"),
        ("0.0001", "has more than 3 decimals"),
        ("1000000000000.000", "has more than 15 digits"),
        ("9" * 31, "has more than 15 digits"),
        (True, "is not an amount, such as 100.00"),
        ("1.005", None),
        ("999999999999999", None),
    ],
)
def test_what_is_no_amount_in_any_currency_is_named_beside_a_wrong_currency(
    amount: Any, currency: Any, detail: str | None
) -> None:
    body = json.dumps({"amount": amount, "currency": currency})
    wrong = read(payments_pb2.CreatePaymentRequest, body)[1]
    assert wrong.pop("currency")
    assert wrong == ({"amount": detail} if detail else {})


def test_what_is_no_amount_is_named_beside_a_missing_currency() -> None:
    wrong = read(payments_pb2.ListPaymentsRequest, '{"minAmount": "abc"}')[1]
    assert wrong == {
        "currency": "is required with min_amount",
        "min_amount": "is not a plain decimal number, such as 100.00",
    }


def test_an_amount_to_sell_that_is_zero_is_not_taken_for_none() -> None:
    body = '{"sell": {"amount": 0, "currency": "USD"}, "buy": {"amount": 5, "currency": "HTG"}}'
    assert read(conversions_pb2.CreateQuoteRequest, body)[1] == {"sell.amount": "must be more than 0"}


def test_a_resource_may_be_sent_back_as_it_was_read() -> None:
    payment = payments_pb2.Payment(id="x", amount=5, currency="HTG", description="a", etag="1", version=3)
    payment.next_action.type = "redirect_to_url"
    document = documents.parse(written(payment))
    kept = reader.without_output_only(payment.DESCRIPTOR, document)
    assert kept == {"description": "a"}
    assert reader.without_output_only(payment.DESCRIPTOR, "no object") == "no object"


def test_free_data_has_a_depth() -> None:
    deep: Any = 1
    for _ in range(17):
        deep = [deep]
    assert list(read(pb.Everything, json.dumps({"structure": {"a": deep}}))[1].values()) == [
        "is nested deeper than 16 levels"
    ]


def test_an_answer_names_no_end_of_errors() -> None:
    assert len(read(pb.Everything, json.dumps({f"x{number}": 1 for number in range(MOST * 2)}))[1]) == MOST


def test_a_mask_names_what_a_body_gives() -> None:
    body = {"status": "PENDING", "metadata": {"a": {"b": 1}}, "nextAction": {"type": "x"}, "next_action": {}, "foo": 1}
    paths = reader.mask_of(payments_pb2.Payment.DESCRIPTOR, body)
    assert paths == ["status", "metadata", "next_action.type", "next_action"]


def test_a_type_that_says_nothing_about_itself_is_refused_at_the_start() -> None:
    with pytest.raises(TypeError, match="Any"):
        reader.of(any_pb2.Any.DESCRIPTOR)
    with pytest.raises(TypeError, match="Any"):
        writer.shown(any_pb2.Any.DESCRIPTOR)


def test_money_without_a_currency_beside_it_is_refused_at_the_start() -> None:
    with pytest.raises(TypeError, match="has no currency"):
        money_fields.fill(pb.Artist.DESCRIPTOR.fields_by_name["id"])


def test_every_well_known_type_is_both_read_and_written() -> None:
    assert set(wellknown.READERS) == set(wellknown.PLAIN_WRITERS) | set(wellknown.WRAPPED)


@given(st.binary(max_size=40) | st.text(max_size=40).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    with contextlib.suppress(documents.Malformed):
        documents.parse(body)
