"""A request is checked against the rules in its proto, and every offending field is named."""

import uuid

import pytest
from google.protobuf import descriptor, message_factory, timestamp_pb2

from kobklein import errors, validation
from kobklein.payments.v1 import payments_pb2 as pb
from kobklein.wallets.v1 import accounts_pb2, ledger_pb2, transfers_pb2
from tests.gateways import gallery_pb2


def violations(request: object) -> dict[str, str]:
    with pytest.raises(errors.InvalidArgument) as raised:
        validation.check(request)  # type: ignore[arg-type]  # any message
    return {violation.field: violation.description for violation in raised.value.violations}


def payment(**changes: object) -> pb.CreatePaymentRequest:
    return pb.CreatePaymentRequest(**{"amount": 100, "method": pb.PAYMENT_METHOD_STRIPE, **changes})  # type: ignore[arg-type]  # mixed values


def test_a_good_request_passes_and_gets_its_defaults() -> None:
    request = payment()
    validation.check(request)
    assert request.currency == "HTG"


def test_every_offending_field_is_named_at_once() -> None:
    request = payment(amount=-4, method=77, reference="x" * 65, user_id="!")
    assert set(violations(request)) == {"amount", "method", "reference", "user_id"}


@pytest.mark.parametrize("amount", [0, -1, 10**13])
def test_an_amount_out_of_range_is_refused(amount: int) -> None:
    assert "amount" in violations(payment(amount=amount))


def test_an_unknown_currency_is_refused() -> None:
    assert violations(payment(currency="XXX")) == {"currency": "is not a currency of ISO 4217"}


def test_an_amount_filter_needs_its_currency() -> None:
    assert violations(pb.ListPaymentsRequest(min_amount=0)) == {"currency": "is required with min_amount"}


def fee(type_: "ledger_pb2.TransferType.ValueType") -> transfers_pb2.SetFeeRequest:
    return transfers_pb2.SetFeeRequest(fee=transfers_pb2.Fee(currency="HTG", type=type_), reason="launch")


@pytest.mark.parametrize("blank", [" ", "\t\n", "\u2003" * 3])
def test_a_required_text_says_something(blank: str) -> None:
    request = accounts_pb2.CloseAccountRequest(id=str(uuid.uuid4()), reason=blank)
    assert violations(request) == {"reason": "is blank"}
    request.reason = f"{blank}a{blank}"
    validation.check(request)  # Raises nothing.


@pytest.mark.parametrize("type_", [ledger_pb2.TRANSFER_TYPE_TRANSFER, ledger_pb2.TRANSFER_TYPE_CONVERSION])
def test_a_value_of_an_enum_that_is_allowed_passes(type_: "ledger_pb2.TransferType.ValueType") -> None:
    validation.check(fee(type_))  # Raises nothing.


@pytest.mark.parametrize("type_", [ledger_pb2.TRANSFER_TYPE_DEPOSIT, ledger_pb2.TRANSFER_TYPE_FEE, 77])
def test_any_other_value_is_refused_with_those_that_are(type_: "ledger_pb2.TransferType.ValueType") -> None:
    assert violations(fee(type_)) == {"fee.type": "is not one of TRANSFER, CONVERSION"}


def test_each_item_of_a_list_is_one_of_those_that_are_allowed() -> None:
    oil, water = gallery_pb2.PAINTING_STYLE_OIL, gallery_pb2.PAINTING_STYLE_WATER_COLOUR
    assert violations(gallery_pb2.Frame(styles=[oil, water, gallery_pb2.PAINTING_STYLE_UNSPECIFIED])) == {
        "styles[1]": "is not one of OIL",
        "styles[2]": "is not one of OIL",
    }


def test_a_nul_character_is_refused() -> None:
    assert violations(payment(description="a\0b")) == {"description": "contains a NUL character"}


def test_a_nul_character_deep_in_a_structure_is_refused() -> None:
    request = payment()
    request.metadata.update({"a": {"b": ["\0"]}})
    assert violations(request) == {"metadata": "contains a NUL character"}


def test_letters_that_only_look_like_an_escaped_nul_character_are_text() -> None:
    request = payment()
    request.metadata.update({"a": "\\u0000"})
    validation.check(request)  # Raises nothing.
    assert request.metadata["a"] == "\\u0000"


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_number_that_json_cannot_hold_is_refused(number: float) -> None:
    request = payment()
    request.metadata.update({"a": number})
    assert violations(request) == {"metadata": "holds a number that JSON cannot"}


def test_a_structure_that_is_too_deep_is_refused() -> None:
    request, inner = payment(), {}
    for _ in range(validation.MAX_STRUCT_DEPTH):
        inner = {"a": inner}
    request.metadata.update(inner)
    assert "nested deeper" in violations(request)["metadata"]


def test_a_structure_that_is_too_large_is_refused() -> None:
    request = payment()
    request.metadata.update({"a": "x" * 8192})
    assert "8192 bytes" in violations(request)["metadata"]


def test_a_structure_with_too_many_keys_is_refused() -> None:
    request = payment()
    request.metadata.update({str(number): 1 for number in range(51)})
    assert "50 keys" in violations(request)["metadata"]


def test_a_field_that_the_service_sets_is_refused() -> None:
    request = pb.UpdatePaymentRequest(id="0" * 8 + "-0000-0000-0000-" + "0" * 12, payment=pb.Payment(amount=1))
    assert violations(request) == {"payment.amount": "is set by the service"}


def test_items_of_a_list_are_named_by_their_index() -> None:
    request = ledger_pb2.PostTransfersRequest(transfers=[ledger_pb2.Transfer()])
    assert "transfers[0].id" in violations(request)


def test_a_missing_message_is_refused_where_it_is_required() -> None:
    assert "payment" in violations(pb.UpdatePaymentRequest(id="0" * 8 + "-0000-0000-0000-" + "0" * 12))


def test_a_pattern_must_match_the_whole_string() -> None:
    assert "id" in violations(pb.GetPaymentRequest(id="0" * 8 + "-0000-0000-0000-" + "0" * 12 + "\n"))


def test_a_map_is_checked_by_its_size_its_keys_and_its_values() -> None:
    good = gallery_pb2.SearchRequest(marks={"a": "1", "abcde": "1234567890", "": ""})
    validation.check(good)
    bad = gallery_pb2.SearchRequest(marks={"a" * 6: "1", "b": "1" * 11, "c": "\0", "d\0": "1"})
    with pytest.raises(errors.InvalidArgument) as raised:
        validation.check(bad)
    assert {(violation.field, violation.description) for violation in raised.value.violations} == {
        ("marks", "has more than 3 items"),
        ("marks", "has a key that is longer than 5 characters"),
        ("marks", "has a key that contains a NUL character"),
        ("marks.b", "is longer than 10 characters"),
        ("marks.c", "contains a NUL character"),
    }


def test_the_length_of_values_is_that_of_keys_where_these_have_none_of_their_own() -> None:
    validation.check(gallery_pb2.Frame(small_marks={"abcd": "1234"}))
    assert violations(gallery_pb2.Frame(small_marks={"abcde": "1"})) == {
        "small_marks": "has a key that is longer than 4 characters"
    }


def test_a_map_of_any_other_kind_is_checked_too() -> None:
    request = gallery_pb2.Everything(styles_by_name={"a": 1, "b": 77}, counts={"a": 1})
    request.artists[1].full_name = "René"
    request.artists[2].full_name = "\0"
    assert violations(request) == {
        "styles_by_name.b": "77 is not a known value",
        "artists.2.full_name": "contains a NUL character",
    }


def posting(**changes: object) -> ledger_pb2.Transfer:
    fields = {"debit_account": "user/ana", "credit_account": "user/ben", "amount": 1, "currency": "HTG"}
    made = {"id": str(uuid.uuid4()), **fields, "type": ledger_pb2.TRANSFER_TYPE_TRANSFER, **changes}
    return ledger_pb2.Transfer(**made)  # type: ignore[arg-type]  # mixed values


@pytest.mark.parametrize(
    "changes",
    [
        {"id": ""},
        {"id": "no uuid"},
        {"debit_account": ""},
        {"credit_account": "user/\0"},
        {"amount": 0},
        {"amount": -1},
        {"currency": "XXX"},
        {"currency": ""},
        {"type": 0},
        {"type": 77},
        {"payment_id": "no uuid"},
        {"reference": "x" * 300},
        {"metadata": {"a": "\0"}},
        {"debit_balance_after": 1},
        {"created_time": timestamp_pb2.Timestamp(seconds=1)},
        {"group_id": str(uuid.UUID(int=1))},
    ],
    ids=str,
)
def test_what_is_wrong_with_one_of_many_is_named_as_if_it_came_alone(changes: dict[str, object]) -> None:
    alone = violations(ledger_pb2.PostTransfersRequest(transfers=[posting(**changes)]))
    many = [posting() for _ in range(30)]
    validation.check(ledger_pb2.PostTransfersRequest(transfers=many))
    among = violations(ledger_pb2.PostTransfersRequest(transfers=[*many, posting(**changes), posting()]))
    assert among == {field.replace("[0]", "[30]"): description for field, description in alone.items()} != {}


@pytest.mark.parametrize(
    "service", [ledger_pb2.DESCRIPTOR, transfers_pb2.DESCRIPTOR, pb.DESCRIPTOR, gallery_pb2.DESCRIPTOR]
)
def test_many_of_any_message_are_told_what_each_of_them_is(service: descriptor.FileDescriptor) -> None:
    for message_type in service.message_types_by_name.values():
        make = message_factory.GetMessageClass(message_type)
        alone: list[errors.Violation] = []
        many: list[errors.Violation] = []
        check = validation._validator(message_type)
        check.check_all([make()], "x", alone)
        check.check_all([make() for _ in range(12)], "x", many)
        assert many[: len(alone)] == alone, message_type.full_name
        assert len(many) == 12 * len(alone), message_type.full_name
