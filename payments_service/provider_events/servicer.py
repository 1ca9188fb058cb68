"""The RPCs on providers' events."""

from typing import Any

import grpc

from kobklein import database, pages
from kobklein.payments.v1 import provider_events_pb2, provider_events_pb2_grpc
from payments_service import inbox
from payments_service.provider_events import messages

_Context = grpc.aio.ServicerContext[Any, Any]


class ProviderEventsServicer(provider_events_pb2_grpc.ProviderEventsServiceServicer):
    """Shows the events that providers have sent."""

    def __init__(self, sessions: database.Sessions, *, pager: pages.Pager) -> None:
        self._sessions = sessions
        self._pager = pager

    async def ListProviderEvents(
        self, request: provider_events_pb2.ListProviderEventsRequest, _context: _Context
    ) -> provider_events_pb2.ListProviderEventsResponse:
        """List provider events."""
        filters, limit = messages.filters(request), pages.size(request)
        place = self._pager.open(request)
        before = None if place is None else int(place[0])
        found = await database.transaction(
            self._sessions, lambda session: inbox.page(session, filters, before=before, limit=limit + 1)
        )
        answer = provider_events_pb2.ListProviderEventsResponse(events=map(messages.render, found[:limit]))
        if len(found) > limit:
            answer.next_page_token = self._pager.seal(request, [found[limit - 1].sequence])
        return answer
