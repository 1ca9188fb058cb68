"""Refunds, disputes, balance and the sandbox's own ledger, through the official SDK."""

from typing import Any

import pytest
import stripe

from deploy.sandbox.testing import Sandbox


async def paid(api: Any, method: str = "pm_card_visa", amount: int = 10_000, **members: Any) -> Any:
    return await api.payment_intents.create_async(
        {
            "amount": amount,
            "currency": "usd",
            "payment_method": method,
            "confirm": True,
            "allowed_payment_method_types": ["card"],
            **members,
        }
    )


async def kinds(api: Any) -> list[str]:
    """The types of the events after the payment, oldest first."""
    types = [event.type for event in reversed((await api.events.list_async({"limit": 100})).data)]
    return types[types.index("payment_intent.succeeded") + 1 :]


async def net(sandbox: Sandbox) -> int:
    return int((await sandbox.look("ledger"))["totals"]["usd"]["net"])


async def test_parts_of_a_charge_are_refunded_until_nothing_is_left(sandbox: Sandbox, api: Any) -> None:
    intent = await paid(api)
    first = await api.refunds.create_async({"payment_intent": intent.id, "amount": 4_000, "metadata": {"r": "1"}})
    assert (first.status, first.amount, first.charge) == ("succeeded", 4_000, intent.latest_charge)
    with pytest.raises(stripe.InvalidRequestError, match="greater than unrefunded amount"):
        await api.refunds.create_async({"payment_intent": intent.id, "amount": 6_001})
    rest = await api.refunds.create_async({"charge": intent.latest_charge, "reason": "requested_by_customer"})
    assert rest.amount == 6_000
    charge = await api.charges.retrieve_async(intent.latest_charge, {"expand": ["refunds"]})
    assert (charge.amount_refunded, charge.refunded) == (10_000, True)
    assert [refund.id for refund in charge.refunds.data] == [rest.id, first.id]
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await api.refunds.create_async({"payment_intent": intent.id})
    assert refused.value.code == "charge_already_refunded"
    assert await net(sandbox) == 0


async def test_a_refund_tells_its_events(sandbox: Sandbox, api: Any) -> None:
    intent = await paid(api)
    await api.refunds.create_async({"payment_intent": intent.id})
    assert await kinds(api) == ["charge.updated", "refund.created", "charge.refunded"]


async def test_a_refund_may_fail_after_it_succeeded(sandbox: Sandbox, api: Any) -> None:
    intent = await paid(api, "pm_card_refundFail")
    refund = await api.refunds.create_async({"payment_intent": intent.id})
    assert refund.status == "succeeded"
    failed = await api.refunds.retrieve_async(refund.id)
    assert (failed.status, failed.failure_reason) == ("failed", "expired_or_canceled_card")
    assert (await api.charges.retrieve_async(intent.latest_charge)).amount_refunded == 0
    assert (await kinds(api))[-3:] == ["refund.failed", "refund.updated", "charge.refund.updated"]
    assert await net(sandbox) == 10_000


async def test_a_pending_refund_arrives_later(sandbox: Sandbox, api: Any) -> None:
    intent = await paid(api, "pm_card_pendingRefund")
    refund = await api.refunds.create_async({"payment_intent": intent.id})
    assert (refund.status, refund.pending_reason) == ("pending", "processing")
    assert (await api.refunds.retrieve_async(refund.id)).status == "succeeded"


async def test_any_refund_can_be_made_to_fail(sandbox: Sandbox, api: Any) -> None:
    intent = await paid(api)
    refund = await api.refunds.create_async({"payment_intent": intent.id})
    failed = await sandbox.control(f"refunds/{refund.id}/fail", reason="lost_or_stolen_card")
    assert (failed["status"], failed["failure_reason"]) == ("failed", "lost_or_stolen_card")
    assert await net(sandbox) == 10_000


async def test_only_captured_money_is_refunded(sandbox: Sandbox, api: Any) -> None:
    intent = await paid(api, capture_method="manual")
    for wish in ({"payment_intent": intent.id}, {"charge": intent.latest_charge}, {}):
        with pytest.raises(stripe.InvalidRequestError):
            await api.refunds.create_async(wish)
    await api.payment_intents.capture_async(intent.id, {"amount_to_capture": 700})
    assert (await api.refunds.create_async({"payment_intent": intent.id})).amount == 700


async def test_a_dispute_card_is_disputed_after_it_paid(sandbox: Sandbox, api: Any) -> None:
    intent = await paid(api, "pm_card_createDispute")
    assert intent.status == "succeeded"
    dispute = (await api.disputes.list_async({"payment_intent": intent.id})).data[0]
    assert (dispute.status, dispute.reason, dispute.amount) == ("needs_response", "fraudulent", 10_000)
    assert (dispute.balance_transactions[0].amount, dispute.balance_transactions[0].fee) == (-10_000, 1_500)
    assert (await api.charges.retrieve_async(intent.latest_charge)).disputed
    assert await kinds(api) == ["charge.updated", "charge.dispute.created", "charge.dispute.funds_withdrawn"]
    with pytest.raises(stripe.InvalidRequestError) as refused:
        await api.refunds.create_async({"payment_intent": intent.id})
    assert refused.value.code == "charge_disputed"
    assert await net(sandbox) == 0


@pytest.mark.parametrize(
    ("evidence", "status", "remaining", "last"),
    [
        ("winning_evidence", "won", 10_000, "charge.dispute.funds_reinstated"),
        ("losing_evidence", "lost", 0, "charge.dispute.closed"),
        ("something else", "under_review", 0, "charge.dispute.updated"),
    ],
)
async def test_evidence_decides_a_dispute(
    sandbox: Sandbox, api: Any, *, evidence: str, status: str, remaining: int, last: str
) -> None:
    await paid(api, "pm_card_createDispute")
    dispute = (await api.disputes.list_async()).data[0]
    answered = await api.disputes.update_async(dispute.id, {"evidence": {"uncategorized_text": evidence}})
    assert (answered.status, answered.evidence_details.submission_count) == ("under_review", 1)
    assert (await api.disputes.retrieve_async(dispute.id)).status == status
    assert (await kinds(api))[-1] == last
    assert await net(sandbox) == remaining


async def test_evidence_can_be_staged_without_submitting_it(sandbox: Sandbox, api: Any) -> None:
    await paid(api, "pm_card_createDispute")
    dispute = (await api.disputes.list_async()).data[0]
    wish = {"evidence": {"uncategorized_text": "winning_evidence"}, "submit": False, "metadata": {"case": "7"}}
    staged = await api.disputes.update_async(dispute.id, wish)
    assert (staged.status, staged.evidence_details.has_evidence) == ("needs_response", True)


async def test_an_accepted_dispute_is_lost_and_stays_so(sandbox: Sandbox, api: Any) -> None:
    await paid(api, "pm_card_createDispute")
    dispute = (await api.disputes.list_async()).data[0]
    assert (await api.disputes.close_async(dispute.id)).status == "lost"
    with pytest.raises(stripe.InvalidRequestError, match="already closed"):
        await api.disputes.update_async(dispute.id, {"metadata": {"late": "1"}})


async def test_an_inquiry_takes_no_money_until_it_escalates(sandbox: Sandbox, api: Any) -> None:
    await paid(api, "pm_card_createDisputeInquiry")
    dispute = (await api.disputes.list_async()).data[0]
    assert (dispute.status, dispute.is_charge_refundable) == ("warning_needs_response", True)
    assert await net(sandbox) == 10_000
    assert (await sandbox.control(f"disputes/{dispute.id}/escalate"))["status"] == "needs_response"
    assert await net(sandbox) == 0


async def test_a_charge_is_refundable_while_the_bank_only_asks_and_after_it_gave_up(sandbox: Sandbox, api: Any) -> None:
    asked = await paid(api, "pm_card_createDisputeInquiry")
    assert (await api.refunds.create_async({"payment_intent": asked.id})).status == "succeeded"
    won = await paid(api)
    dispute = await sandbox.control("disputes", payment_intent=won.id)
    await sandbox.control(f"disputes/{dispute['id']}/won")
    assert (await api.refunds.create_async({"payment_intent": won.id})).status == "succeeded"


async def test_an_unanswered_dispute_is_lost_in_time(sandbox: Sandbox, api: Any) -> None:
    await paid(api, "pm_card_createDispute")
    await sandbox.control("clock", seconds=10 * 86_400)
    dispute = (await api.disputes.list_async()).data[0]
    assert (dispute.status, dispute.evidence_details.past_due) == ("lost", True)


@pytest.mark.parametrize(("status", "remaining"), [("won", 10_000), ("lost", 9_000), ("prevented", 10_000)])
async def test_a_test_disputes_any_charge_and_decides(sandbox: Sandbox, api: Any, status: str, remaining: int) -> None:
    intent = await paid(api)
    dispute = await sandbox.control("disputes", payment_intent=intent.id, reason="duplicate", amount=1_000)
    assert (dispute["reason"], dispute["amount"]) == ("duplicate", 1_000)
    assert (await sandbox.control(f"disputes/{dispute['id']}/{status}"))["status"] == status
    assert await net(sandbox) == remaining


async def test_the_ledger_lists_each_movement_with_its_payment(sandbox: Sandbox, api: Any) -> None:
    first = await paid(api, metadata={"payment_id": "p1"})
    second = await paid(api, amount=1_000_000, currency="htg", metadata={"payment_id": "p2"})
    refund = await api.refunds.create_async({"payment_intent": second.id, "amount": 250_000})
    ledger = await sandbox.look("ledger")
    assert {code: total["net"] for code, total in ledger["totals"].items()} == {"usd": 10_000, "htg": 750_000}
    assert [
        (each["kind"], each["amount"], each["currency"], each["source"], each["payment_intent"], each["metadata"])
        for each in ledger["movements"]
    ] == [
        ("charge", 10_000, "usd", first.latest_charge, first.id, {"payment_id": "p1"}),
        ("charge", 1_000_000, "htg", second.latest_charge, second.id, {"payment_id": "p2"}),
        ("refund", -250_000, "htg", refund.id, second.id, {"payment_id": "p2"}),
    ]
    only = await sandbox.look("ledger", payment_intent=first.id)
    assert len(only["movements"]) == 1


async def test_the_balance_is_pending_and_then_available(sandbox: Sandbox, api: Any) -> None:
    await paid(api)
    await paid(api, "pm_card_bypassPending")
    before = await api.balance.retrieve_async()
    assert (before.pending[0].amount, before.available[0].amount) == (9_680, 9_680)
    await sandbox.control("clock", seconds=2 * 86_400)
    after = await api.balance.retrieve_async()
    assert (after.pending[0].amount, after.available[0].amount) == (0, 19_360)
    booked = await api.balance_transactions.list_async({"type": "charge", "expand": ["data.source"]})
    assert [(each.status, each.source.object) for each in booked.data] == [("available", "charge")] * 2
