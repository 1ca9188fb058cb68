"""A request is checked against the rules in its proto, and every offending field is named."""

import uuid
from typing import Any

import pytest
from google.protobuf import descriptor, message_factory, timestamp_pb2

from kobklein import errors, masks, validation, value_checks
from kobklein.payments.v1 import payments_pb2 as pb
from kobklein.wallets.v1 import (
    accounts_pb2,
    conversions_pb2,
    holds_pb2,
    ledger_pb2,
    statements_pb2,
    transfers_pb2,
    wallets_pb2,
)
from tests.gateways import gallery_pb2

ID = "0198c5b0-7d2a-7c3e-9f61-2b8f4d1c9a10"


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
    request = payment(amount=-4, method=77, reference="x" * 65, user_id="a b")
    assert set(violations(request)) == {"amount", "method", "reference", "user_id"}


@pytest.mark.parametrize("amount", [0, -1, 10**15])
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
    for _ in range(value_checks.MAX_STRUCT_DEPTH):
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
    request = ledger_pb2.PostTransfersRequest(transfers=[posting(debit_balance_after=1)])
    assert violations(request) == {"transfers[0].debit_balance_after": "is set by the service"}


def test_a_field_that_the_service_sets_is_ignored_in_what_a_mask_changes() -> None:
    read_before = pb.Payment(id=ID, amount=1, currency="XXX", version=3, etag="3", description="new")
    read_before.next_action.type = "redirect_to_url"
    request = pb.UpdatePaymentRequest(id=ID, payment=read_before)
    request.update_mask.paths.extend(["amount", "description", "next_action.type", "nothing"])
    validation.check(request)
    expected = pb.UpdatePaymentRequest(id=ID, payment=pb.Payment(description="new"))
    expected.update_mask.paths.extend(["description", "nothing"])
    assert request == expected
    assert masks.paths(request, request.payment) == ["description", "nothing"]


def test_a_change_without_a_mask_is_of_all_that_it_gives() -> None:
    limits = ledger_pb2.Limits(currency="HTG", day_amount=0)
    request = accounts_pb2.UpdateAccountRequest(id=ID, account=ledger_pb2.Account(etag="3", limits=limits))
    validation.check(request)
    assert masks.paths(request, request.account) == ["limits.currency", "limits.day_amount"]


def test_a_mask_has_an_end() -> None:
    request = pb.UpdatePaymentRequest(id=ID, payment=pb.Payment())
    request.update_mask.paths.extend(["a"] * 101)
    assert violations(request) == {"update_mask": "names 101 fields, more than 100"}


@pytest.mark.parametrize("field", ["id", "payment_id", "hold_id", "reverses_id"])
def test_an_id_in_capitals_is_the_same_id(field: str) -> None:
    for count in (1, 30):  # Many are checked column by column.
        request = ledger_pb2.PostTransfersRequest(transfers=[posting(**{field: ID.upper()}) for _ in range(count)])
        validation.check(request)
        assert {getattr(transfer, field) for transfer in request.transfers} == {ID}


@pytest.mark.parametrize("id_", ["42", ID.replace("-", ""), f"{{{ID}}}", ID + "0", ID.replace("a", "\uff41")])
def test_what_is_no_id_is_told_so(id_: str) -> None:
    assert violations(pb.GetPaymentRequest(id=id_)) == {"id": "is not an id (UUID)"}


@pytest.mark.parametrize(
    "text",
    [
        "2024-01-31",
        "2024-01-31T00:00:00.000Z",
        "2024-01-31T23:59:59.999999999+14:00",
        "2024-01-31t00:00:60z",
        "2024-01-31 12:30",
        "2024-01-31T05:00:00 02:00",
        "2024-01-31T05:00:00.5-11:30",
        "2024-01-31T05:00:00",
    ],
)
def test_a_date_time_counts_as_the_day_that_it_is_written_with(text: str) -> None:
    request = pb.GetPaymentAnalyticsRequest(start_date=text, end_date=text)
    validation.check(request)
    assert (request.start_date, request.end_date) == ("2024-01-31", "2024-01-31")


@pytest.mark.parametrize(
    "text", ["31.01.2024", "2024-1-31", "2024-01-31T", "2024-01-31T24:00:00Z", "2024-01-31T00:00:00.Z", "1" * 2000]
)
def test_what_is_no_date_is_told_so(text: str) -> None:
    assert violations(pb.GetPaymentAnalyticsRequest(start_date=text)) == {
        "start_date": "is not a date, such as 2024-01-31"
    }


def test_a_missing_field_and_a_wrong_one_are_both_named() -> None:
    request = statements_pb2.ExportStatementRequest(id=ID, time_zone="Port-au-Prince")
    assert violations(request) == {
        "from_time": "is required",
        "time_zone": "is not an IANA time zone, such as America/Port-au-Prince",
    }


def test_what_a_value_must_be_is_said_in_words() -> None:
    card = pb.ProcessStripePaymentRequest(amount=-5, currency="usd", payment_method_id="tok_visa")
    assert violations(card) == {
        "amount": "must be at least 1 minor unit",
        "currency": "is not a currency of ISO 4217; write USD",
        "payment_method_id": "must be a Stripe PaymentMethod such as pm_card_visa; never a card number",
    }
    rate = conversions_pb2.DeleteRateRequest(sell_currency="htg", buy_currency="gourdes", reason="x")
    assert violations(rate) == {
        "sell_currency": "is not a currency of ISO 4217; write HTG",
        "buy_currency": "is not a currency of ISO 4217",
    }


@pytest.mark.parametrize("status", [0, 77])
def test_each_value_of_a_list_of_an_enum_is_one_of_its_names(status: Any) -> None:
    names = "PENDING, PROCESSING, COMPLETED, FAILED, CANCELLED, REFUNDED"
    assert violations(pb.ListPaymentsRequest(status=[1, status])) == {"status[1]": f"is not one of {names}"}


CARD = "4242 4242 4242 4242"
HOLDS_A_CARD = "holds a card number, which must not be sent here"


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (pb.CreatePaymentRequest(amount=1, method=1, description=f"card {CARD}, 12/29"), "description"),
        (pb.CreatePaymentRequest(amount=1, method=1, reference=CARD.replace(" ", "-")), "reference"),
        (pb.CreatePaymentRequest(amount=1, method=1, metadata={"a": {"b": [CARD]}}), "metadata"),
        (pb.CreatePaymentRequest(amount=1, method=1, metadata={"a": f"card:\n{CARD}\x1f\\"}), "metadata"),
        (pb.CreatePaymentRequest(amount=1, method=1, metadata={"a": 4242424242424242}), "metadata"),
        (pb.CreatePaymentRequest(amount=1, method=1, metadata={CARD: "a"}), "metadata"),
        (pb.UpdatePaymentRequest(id=ID, payment=pb.Payment(description=CARD)), "payment.description"),
        (accounts_pb2.CloseAccountRequest(id=ID, reason=CARD), "reason"),
        (ledger_pb2.PostTransfersRequest(), "transfers[12].description"),
        (wallets_pb2.ListWalletTransactionsRequest(id=ID, metadata={"a": CARD}), "metadata.a"),
    ],
)
def test_a_card_number_in_free_text_is_refused_and_not_repeated(request_: Any, field: str) -> None:
    if field.startswith("transfers"):
        request_.transfers.extend([*(posting() for _ in range(12)), posting(description=CARD)])
    assert violations(request_) == {field: HOLDS_A_CARD}


def test_every_free_text_of_a_request_is_looked_through() -> None:
    files = (pb, ledger_pb2, accounts_pb2, transfers_pb2, holds_pb2, conversions_pb2, wallets_pb2)
    requests = [
        message_type
        for file in files
        for message_type in file.DESCRIPTOR.message_types_by_name.values()
        if message_type.name.endswith("Request") or message_type.name in ("Transfer", "Account")
    ]
    texts = [
        field
        for message_type in requests
        for field in message_type.fields
        if field.name in ("description", "reference", "reason", "metadata")
        and field.type == descriptor.FieldDescriptor.TYPE_STRING
    ]
    assert len(texts) > 20
    assert [field.full_name for field in texts if not validation.rules_of(field).free_text] == []


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
        "styles_by_name.b": "is not one of OIL, WATER_COLOUR",
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
