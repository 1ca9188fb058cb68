"""The sandbox's own book of what payers paid and got back, kept apart from the objects so that both can be compared."""

from typing import Any

import orjson

from deploy.sandbox.state import State
from deploy.sandbox.store import Object

KINDS = ("charge", "refund", "refund_failure", "dispute", "dispute_reversal")


def move(state: State, kind: str, charge: Object, *, amount: int, source: str) -> None:
    """Book one movement, in the charge's own currency; money that leaves the merchant is negative."""
    state.store.execute(
        "INSERT INTO movements (created, kind, amount, currency, source, charge, payment_intent)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (state.clock.now(), kind, amount, charge["currency"], source, charge["id"], charge["payment_intent"]),
    )


def totals(state: State, *, payment_intent: str | None = None) -> dict[str, dict[str, int]]:
    """Per currency: the sum of each kind of movement, and the net of all, or of those of one PaymentIntent."""
    sums: dict[str, dict[str, int]] = {}
    rows = state.store.execute(
        "SELECT currency, kind, sum(amount), count(*) FROM movements"
        " WHERE ?1 IS NULL OR payment_intent = ?1 GROUP BY 1, 2 ORDER BY 1, 2",
        (payment_intent,),
    )
    for currency, kind, amount, count in rows:
        total = sums.setdefault(currency, {**dict.fromkeys(KINDS, 0), "net": 0, "count": 0})
        total[kind] = amount
        total["net"] += amount
        total["count"] += count
    return sums


def movements(state: State, *, payment_intent: str | None = None) -> list[dict[str, Any]]:
    """Every movement, oldest first, with the metadata that its PaymentIntent has now."""
    rows = state.store.execute(
        "SELECT m.number, m.created, m.kind, m.amount, m.currency, m.source, m.charge, m.payment_intent,"
        " o.body -> '$.metadata' FROM movements m LEFT JOIN objects o ON o.id = m.payment_intent"
        " WHERE ?1 IS NULL OR m.payment_intent = ?1 ORDER BY m.number",
        (payment_intent,),
    )
    names = ("number", "created", "kind", "amount", "currency", "source", "charge", "payment_intent")
    return [{**dict(zip(names, row, strict=False)), "metadata": orjson.loads(row[-1] or "{}")} for row in rows]
