"""What each of Stripe's events leads to: the one table of those that count here; every other event is ignored."""

from typing import Final

from payments_service.states import EventMove

_PAYMENTS: Final = """
    payment_intent.processing payment_intent.requires_action payment_intent.amount_capturable_updated
    payment_intent.partially_funded payment_intent.payment_failed payment_intent.succeeded payment_intent.canceled
"""
"""Something happened to one of our payments. What happens to its charge is told by its PaymentIntent too."""

_MONEY: Final = """
    charge.refunded charge.refund.updated refund.created refund.updated refund.failed
    charge.dispute.created charge.dispute.funds_withdrawn charge.dispute.funds_reinstated charge.dispute.closed
    payout.created payout.paid payout.failed payout.canceled
    topup.succeeded topup.reversed transfer.created transfer.reversed
    application_fee.created application_fee.refunded
    customer_cash_balance_transaction.created source.transaction.created
    reserve.hold.created reserve.release.created
    issuing_transaction.created issuing_dispute.funds_reinstated issuing_dispute.funds_rescinded
    climate.order.created climate.order.canceled
    treasury.credit_reversal.posted treasury.debit_reversal.completed treasury.debit_reversal.initial_credit_granted
    treasury.inbound_transfer.succeeded treasury.inbound_transfer.failed
    treasury.outbound_payment.posted treasury.outbound_payment.failed treasury.outbound_payment.returned
    treasury.outbound_transfer.posted treasury.outbound_transfer.failed treasury.outbound_transfer.returned
    treasury.received_credit.succeeded treasury.received_debit.created
"""
"""Money enters or leaves our balance at Stripe, or is kept back there, other than by a payment of ours.

Left out: events that only announce such a movement (`payout.updated`, `charge.dispute.updated`), and those whose money
has an event of its own (`invoice.paid`, `checkout.session.completed`, `charge.succeeded`).
"""

MOVES: Final[dict[str, EventMove]] = {
    **dict.fromkeys(_PAYMENTS.split(), EventMove.FETCH),
    **dict.fromkeys(_MONEY.split(), EventMove.REPORT),
}


def move(kind: str) -> EventMove:
    """Return what an event of this type leads to."""
    return MOVES.get(kind, EventMove.IGNORE)
