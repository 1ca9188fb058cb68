"""The journal of everything that happens, and who is to be told."""

from typing import Any

from deploy.sandbox import listings, webhook_endpoints
from deploy.sandbox.parameters import Arguments, Array, Boolean, Fields, Text
from deploy.sandbox.settings import API_VERSION
from deploy.sandbox.state import Delivery, State
from deploy.sandbox.store import Object

LIST = listings.parameters(type=Text(), types=Array(Text(), limit=20), delivery_success=Boolean())
RETRIEVE = Fields({})


def record(state: State, kind: str, subject: Object, *, before: Object | None = None) -> Object:
    """Note that something happened to `subject` and address the event to every endpoint that wants it.

    With `before` the event tells the previous values of what changed.
    """
    data: dict[str, Any] = {"object": subject}
    if before is not None:
        data["previous_attributes"] = changes(before, subject)
    endpoints = webhook_endpoints.interested(state, kind)
    event = {
        "id": state.identifier("evt"),
        "object": "event",
        "api_version": API_VERSION,
        "created": state.clock.now(),
        "data": data,
        "livemode": False,
        "pending_webhooks": len(endpoints),
        "request": {"id": state.call.request_id, "idempotency_key": state.call.idempotency_key},
        "type": kind,
    }
    state.store.put(event)
    for endpoint in endpoints:
        address(state, event, endpoint["id"])
    return event


def address(state: State, event: Object, endpoint: str) -> Delivery:
    """Write down that `event` is to reach `endpoint`; it leaves when the transaction commits."""
    cursor = state.store.execute(
        "INSERT INTO deliveries (event, type, endpoint, status) VALUES (?, ?, ?, 'pending')",
        (event["id"], event["type"], endpoint),
    )
    delivery = Delivery(cursor.lastrowid or 0, event["id"], event["type"], endpoint)
    state.outbox.append(delivery)
    return delivery


def changes(before: Object, after: Object) -> Object:
    """The members of `before` that `after` has otherwise; dictionaries are compared member by member."""
    previous: Object = {}
    for name in after.keys() | before.keys():
        old, new = before.get(name), after.get(name)
        if old == new:
            continue
        previous[name] = changes(old, new) if isinstance(old, dict) and isinstance(new, dict) else old
    return previous


def retrieve(state: State, arguments: Arguments) -> Object:
    """One event; `pending_webhooks` is the number of deliveries that have not succeeded yet."""
    return _current(state, state.get("event", arguments["id"]))


def list_(state: State, arguments: Arguments) -> Object:
    """Events, newest first, by type (`charge.*` matches a family) and delivery."""
    delivered = arguments.pop("delivery_success", None)
    types = arguments.pop("types", None)
    if types is not None:
        arguments["type"] = types
    page = listings.page(state, "event", "/v1/events", arguments)
    page["data"] = [_current(state, event) for event in page["data"]]
    if delivered is not None:
        page["data"] = [event for event in page["data"] if (event["pending_webhooks"] == 0) is delivered]
    return page


def _current(state: State, event: Object) -> Object:
    row = state.store.execute(
        "SELECT count(*) FROM deliveries WHERE event = ? AND status <> 'delivered'", (event["id"],)
    ).fetchone()
    return {**event, "pending_webhooks": row[0]}
