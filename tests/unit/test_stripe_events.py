"""What each event of Stripe leads to."""

import re
from pathlib import Path

import pytest
from stripe.params import _webhook_endpoint_create_params as subscriptions

from payments_service.providers import stripe_events
from payments_service.states import EventMove

KNOWN = set(re.findall(r'"([a-z_0-9]+(?:\.[a-z_0-9]+)+)"', Path(str(subscriptions.__file__)).read_text()))
"""Every event that an endpoint can subscribe to, as the pinned SDK has them."""


def test_the_table_names_events_that_stripe_has() -> None:
    assert len(KNOWN) > 250
    assert set(stripe_events.MOVES) <= KNOWN


def test_every_event_of_an_intent_but_its_creation_leads_to_a_look() -> None:
    looks = {kind for kind, move in stripe_events.MOVES.items() if move is EventMove.FETCH}
    assert looks == {kind for kind in KNOWN if kind.startswith("payment_intent.")} - {"payment_intent.created"}


@pytest.mark.parametrize(
    "kind",
    [
        "charge.refunded",
        "refund.created",
        "refund.updated",
        "refund.failed",
        "charge.dispute.created",
        "charge.dispute.funds_withdrawn",
        "charge.dispute.funds_reinstated",
        "charge.dispute.closed",
        "payout.paid",
        "payout.failed",
        "topup.reversed",
        "transfer.created",
    ],
)
def test_money_that_moves_other_than_by_a_payment_is_reported(kind: str) -> None:
    assert stripe_events.move(kind) is EventMove.REPORT


@pytest.mark.parametrize("kind", ["payment_intent.created", "customer.created", "charge.succeeded", "no.such.event"])
def test_every_other_event_is_ignored(kind: str) -> None:
    assert stripe_events.move(kind) is EventMove.IGNORE
