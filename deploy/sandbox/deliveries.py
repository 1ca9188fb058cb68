"""The log of deliveries: what was sent to whom, each try and how it went."""

from dataclasses import asdict, dataclass
from typing import Any

from deploy.sandbox.state import Delivery, State

STATUSES = ("pending", "delivered", "failed", "withheld", "canceled")


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try: when, how long, and the HTTP status or what went wrong instead."""

    time: float
    seconds: float
    status: int | None
    error: str | None


def log(state: State, delivery: Delivery, attempt: Attempt) -> None:
    """Add a try to a delivery."""
    state.store.execute(
        "INSERT INTO attempts (delivery, number, time, seconds, status, error)"
        " SELECT ?1, 1 + coalesce(max(number), 0), ?2, ?3, ?4, ?5 FROM attempts WHERE delivery = ?1",
        (delivery.number, attempt.time, attempt.seconds, attempt.status, attempt.error),
    )


def mark(state: State, delivery: Delivery, status: str) -> None:
    """Say what became of a delivery; once delivered it stays so."""
    state.store.execute(
        "UPDATE deliveries SET status = ? WHERE number = ? AND status <> 'delivered'", (status, delivery.number)
    )


def pending(state: State) -> list[Delivery]:
    """What still has to be delivered, oldest first."""
    rows = state.store.execute(
        "SELECT number, event, type, endpoint FROM deliveries WHERE status = 'pending' ORDER BY number"
    )
    return [Delivery(*row) for row in rows]


def of_event(state: State, event: str) -> list[Delivery]:
    """Every delivery of one event."""
    rows = state.store.execute("SELECT number, event, type, endpoint FROM deliveries WHERE event = ?", (event,))
    return [Delivery(*row) for row in rows]


def show(state: State, *, event: str | None, status: str | None, limit: int) -> list[dict[str, Any]]:
    """Deliveries with their tries, newest first."""
    rows = state.store.execute(
        "SELECT number, event, type, endpoint, status FROM deliveries"
        " WHERE (?1 IS NULL OR event = ?1) AND (?2 IS NULL OR status = ?2) ORDER BY number DESC LIMIT ?3",
        (event, status, limit),
    ).fetchall()
    names = ("number", "event", "type", "endpoint", "status")
    return [{**dict(zip(names, row, strict=True)), "attempts": _attempts(state, row[0])} for row in rows]


def counts(state: State) -> dict[str, int]:
    """How many deliveries have which status."""
    return dict(state.store.execute("SELECT status, count(*) FROM deliveries GROUP BY status ORDER BY status"))


def _attempts(state: State, delivery: int) -> list[dict[str, Any]]:
    rows = state.store.execute(
        "SELECT time, seconds, status, error FROM attempts WHERE delivery = ? ORDER BY number", (delivery,)
    )
    return [asdict(Attempt(*row)) for row in rows]
