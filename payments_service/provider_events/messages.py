"""Providers' events as the contract has them."""

import uuid
from typing import Final

from kobklein import errors, wire
from kobklein.payments.v1 import provider_events_pb2
from payments_service.inbox import Filters, SeenEvent
from payments_service.states import EventState

_STATE_PREFIX: Final = "PROVIDER_EVENT_STATE_"


def filters(request: provider_events_pb2.ListProviderEventsRequest) -> Filters:
    """Return the conditions of a list; raises InvalidArgument for a range that ends before it starts."""
    found = Filters(
        states=tuple(_state(value) for value in request.state if value),
        types=tuple(request.type),
        payment_id=uuid.UUID(request.payment_id) if request.payment_id else None,
        received_from=wire.boundary(request, "received_from"),
        received_before=wire.boundary(request, "received_before"),
    )
    if found.received_from and found.received_before and found.received_before < found.received_from:
        raise errors.InvalidArgument.of("received_before", "is before received_from")
    return found


def render(event: SeenEvent) -> provider_events_pb2.ProviderEvent:
    """Return an event as staff see it."""
    return provider_events_pb2.ProviderEvent(
        provider=event.provider,
        id=event.event_id,
        type=event.type,
        object_id=event.object_id,
        payment_id=str(event.payment_id or ""),
        state=provider_events_pb2.ProviderEventState.Value(_STATE_PREFIX + event.state),
        outcome=event.outcome,
        attempts=event.attempts,
        created_time=wire.timestamp(event.event_time),
        received_time=wire.timestamp(event.received_time),
        applied_time=wire.optional_timestamp(event.applied_time),
    )


def _state(value: "provider_events_pb2.ProviderEventState.ValueType") -> EventState:
    return EventState(provider_events_pb2.ProviderEventState.Name(value).removeprefix(_STATE_PREFIX))
