"""What becomes of a payment, for each thing that a provider can say."""

import dataclasses
import datetime
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payments_service import decisions, providers
from payments_service.decisions import Decision
from payments_service.models import Payment
from payments_service.settings import MoneyPathSettings
from payments_service.states import IntentStatus, Method, Status, Step

SETTINGS = MoneyPathSettings()
NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def _payment(**fields: Any) -> Payment:
    row: dict[str, Any] = {
        **dict.fromkeys(field.name for field in dataclasses.fields(Payment)),
        "id": uuid.UUID(int=1),
        "user_id": "ana",
        "amount": 1_000,
        "currency": "USD",
        "method": Method.STRIPE,
        "status": Status.PROCESSING,
        "step": Step.AUTHORISE,
        "attempts": 1,
        "failure_code": "",
        "received_amount": 0,
        "created_time": NOW,
        "version": 1,
        **fields,
    }
    return Payment(**row)


def _intent(status: IntentStatus, **fields: Any) -> providers.Intent:
    received = 1_000 if status is IntentStatus.SUCCEEDED else 0
    return providers.Intent(
        **{"id": "pi_1", "status": status, "amount": 1_000, "currency": "USD", "received_amount": received, **fields}
    )


def _decide(payment: Payment, outcome: providers.Outcome, *, expired: bool = False) -> Decision:
    return decisions.decide(payment, outcome, settings=SETTINGS, expired=expired)


def test_a_collected_amount_is_settled() -> None:
    decision = _decide(_payment(), _intent(IntentStatus.SUCCEEDED))
    assert decision.values["step"] is Step.SETTLE
    assert decision.values["received_amount"] == 1_000
    assert "status" not in decision.values
    assert (decision.due_seconds, decision.go_on) == (0.0, False)


def test_money_that_came_after_a_decline_is_settled_and_the_decline_forgotten() -> None:
    decision = _decide(_payment(step=Step.CANCEL, failure_code="declined"), _intent(IntentStatus.SUCCEEDED))
    assert (decision.values["step"], decision.values["failure_code"]) == (Step.SETTLE, "")


@pytest.mark.parametrize("fields", [{"received_amount": 999}, {"received_amount": 1_001}, {"currency": "HTG"}])
def test_another_amount_or_currency_is_never_settled(fields: dict[str, Any]) -> None:
    decision = _decide(_payment(), _intent(IntentStatus.SUCCEEDED, **fields))
    assert decision.values["step"] is Step.FETCH
    assert decision.values["failure_code"] == decisions.AMOUNT_MISMATCH
    assert "received_amount" not in decision.values


def test_a_declined_card_closes_the_intent_before_the_payment_fails() -> None:
    decline = providers.Decline("insufficient_funds", "Too little money.")
    decision = _decide(_payment(), _intent(IntentStatus.REQUIRES_PAYMENT_METHOD, decline=decline))
    assert decision.values["step"] is Step.CANCEL
    assert decision.values["failure_code"] == "insufficient_funds"
    assert "status" not in decision.values
    assert decision.go_on


def test_an_intent_that_cannot_be_closed_is_tried_again_later_and_not_at_once() -> None:
    decision = _decide(_payment(step=Step.CANCEL, attempts=2), _intent(IntentStatus.REQUIRES_PAYMENT_METHOD))
    assert (decision.values["step"], decision.go_on, decision.due_seconds) == (Step.CANCEL, False, 300.0)


@pytest.mark.parametrize(("failure_code", "status"), [("declined", Status.FAILED), ("", Status.CANCELLED)])
def test_a_closed_intent_ends_the_payment(failure_code: str, status: Status) -> None:
    decision = _decide(_payment(step=Step.CANCEL, failure_code=failure_code), _intent(IntentStatus.CANCELED))
    assert (decision.values["status"], decision.values["step"]) == (status, None)


def test_a_payer_who_has_to_act_is_waited_for() -> None:
    action = providers.NextAction("redirect_to_url", "https://bank.test/", "pi_1_secret_2")
    decision = _decide(_payment(), _intent(IntentStatus.REQUIRES_ACTION, next_action=action))
    assert decision.values["next_action"] == {
        "type": "redirect_to_url",
        "redirect_url": "https://bank.test/",
        "client_secret": "pi_1_secret_2",
    }
    assert (decision.values["step"], decision.due_seconds, decision.go_on) == (Step.FETCH, 60.0, False)


def test_a_payer_who_took_too_long_loses_the_intent() -> None:
    decision = _decide(_payment(step=Step.FETCH), _intent(IntentStatus.REQUIRES_ACTION), expired=True)
    assert (decision.values["step"], decision.go_on) == (Step.CANCEL, True)
    assert "failure_code" not in decision.values


@pytest.mark.parametrize("status", [IntentStatus.PROCESSING, IntentStatus.REQUIRES_CAPTURE])
def test_banks_and_captures_are_waited_for_however_long_they_take(status: IntentStatus) -> None:
    decision = _decide(_payment(step=Step.FETCH, attempts=9), _intent(status, capturable_amount=1_000), expired=True)
    assert (decision.values["step"], decision.values["capturable_amount"]) == (Step.FETCH, 1_000)
    assert decision.due_seconds == 86_400.0


def test_an_intent_that_waits_for_us_is_confirmed() -> None:
    decision = _decide(_payment(step=Step.FETCH), _intent(IntentStatus.REQUIRES_CONFIRMATION))
    assert (decision.values["step"], decision.go_on) == (Step.CONFIRM, True)


def test_a_charge_that_the_provider_did_not_make_fails() -> None:
    decision = _decide(_payment(), providers.Refused("provider_error", "Something broke."))
    assert decision.values == {
        "status": Status.FAILED,
        "step": None,
        "failure_code": "provider_error",
        "failure_message": "Something broke.",
    }


@pytest.mark.parametrize(("pending", "status"), [(False, Status.FAILED), (True, Status.PENDING)])
def test_a_wrong_request_leaves_a_payment_as_it_was_before(pending: bool, status: Status) -> None:
    refused = providers.Refused("resource_missing", "No such card.", "payment_method_id")
    values = decisions.undone(_payment(refused_charges=1), refused, pending=pending).values
    assert (values["status"], values["step"], values["failure_field"]) == (status, None, "payment_method_id")
    assert values.get("refused_charges") == (2 if pending else None)


@given(
    step=st.sampled_from([Step.AUTHORISE, Step.CONFIRM, Step.FETCH, Step.CANCEL]),
    status=st.sampled_from(IntentStatus),
    received=st.integers(0, 2_000),
    attempts=st.integers(1, 50),
    expired=st.booleans(),
)
def test_no_answer_makes_a_loop_or_credits_what_was_not_asked(
    step: Step, status: IntentStatus, received: int, attempts: int, *, expired: bool
) -> None:
    intent = _intent(status, received_amount=received)
    decision = _decide(_payment(step=step, attempts=attempts), intent, expired=expired)
    assert not (decision.go_on and decision.values["step"] is step)
    if decision.values["step"] is Step.SETTLE:
        assert (status, received) == (IntentStatus.SUCCEEDED, 1_000)
    if "status" in decision.values:
        assert status is IntentStatus.CANCELED


@pytest.mark.parametrize(("attempts", "seconds"), [(0, 60), (1, 60), (2, 300), (3, 3600), (4, 86_400), (99, 86_400)])
def test_unknown_outcomes_are_asked_for_after_a_minute_five_an_hour_and_daily(attempts: int, seconds: float) -> None:
    assert decisions.pause(SETTINGS.provider_schedule, attempts) == seconds
