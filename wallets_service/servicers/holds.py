"""The RPCs of holds."""

import uuid
from collections.abc import Collection
from typing import Any

import grpc

from kobklein import calls, database, idempotency, pages
from kobklein.wallets.v1 import holds_pb2, holds_pb2_grpc
from wallets_service import holds, instants
from wallets_service.ledger import entries
from wallets_service.ledger.group_commit import Ledger
from wallets_service.messages import holds as messages

_Context = grpc.aio.ServicerContext[Any, Any]


class HoldsServicer(holds_pb2_grpc.HoldsServiceServicer):
    """Reserves money of an account."""

    def __init__(
        self,
        ledger: Ledger,
        sessions: database.Sessions,
        pager: pages.Pager,
        *,
        default_seconds: int,
        currencies: Collection[str],
    ) -> None:
        """Make holds in these currencies, for so long unless their makers say otherwise."""
        self._ledger = ledger
        self._sessions = sessions
        self._pager = pager
        self._default_seconds = default_seconds
        self._currencies = currencies

    async def CreateHold(self, request: holds_pb2.CreateHoldRequest, _context: _Context) -> holds_pb2.Hold:
        """Create a hold."""
        call, reserved = calls.current(), messages.reserved(request)
        if reserved and not call.unrestricted:
            raise call.denial(f"setting {', '.join(reserved)}")
        messages.check_sides(request)

        async def work(id_: uuid.UUID) -> holds_pb2.Hold:
            made = messages.new_hold(request, id_=id_, default_seconds=self._default_seconds)
            default = not request.HasField("expires_after_seconds")
            held = await holds.create(
                self._sessions, self._ledger, made, default_lifetime=default, currencies=self._currencies
            )
            return messages.hold(held, calls.current())

        return await idempotency.repeatable(self._sessions, messages.content(request), work, holds_pb2.Hold)

    async def GetHold(self, request: holds_pb2.GetHoldRequest, _context: _Context) -> holds_pb2.Hold:
        """Get a hold."""
        call = calls.current()
        held = await instants.read_at_end(
            self._sessions,
            lambda session: holds.get(session, uuid.UUID(request.id), owner=call.owner),
            lambda held: held.hold.expires_time if held.hold.status == entries.EXPIRED else None,
        )
        return messages.hold(held, call)

    async def ListHolds(self, request: holds_pb2.ListHoldsRequest, _context: _Context) -> holds_pb2.ListHoldsResponse:
        """List holds."""
        call = calls.current()
        before, limit = messages.position(self._pager.open(request)), pages.size(request)
        found = await database.transaction(
            self._sessions,
            lambda session: holds.list_(session, messages.filter_(request), before=before, limit=limit + 1),
        )
        page = found[:limit]
        return holds_pb2.ListHoldsResponse(
            holds=[messages.hold(each, call) for each in page],
            next_page_token=self._pager.seal(request, messages.position_of(page[-1])) if len(found) > limit else "",
        )

    async def PostHold(self, request: holds_pb2.PostHoldRequest, _context: _Context) -> holds_pb2.Hold:
        """Post a hold."""
        hold = await self._for_payee(request.id)
        messages.check_currency(request, hold)

        async def work(transfer_id: uuid.UUID) -> holds_pb2.Hold:
            part = messages.part(request, transfer_id=transfer_id)
            return messages.hold(await holds.post(self._sessions, self._ledger, hold, part), calls.current())

        return await idempotency.repeatable(self._sessions, request, work, holds_pb2.Hold)

    async def VoidHold(self, request: holds_pb2.VoidHoldRequest, _context: _Context) -> holds_pb2.Hold:
        """Void a hold."""
        hold = await self._for_payee(request.id)

        async def work(_: uuid.UUID) -> holds_pb2.Hold:
            return messages.hold(await holds.void(self._ledger, hold), calls.current())

        return await idempotency.repeatable(self._sessions, request, work, holds_pb2.Hold)

    async def _for_payee(self, id_: str) -> entries.Hold:
        """Return the hold if the caller may end it; asked before a key is claimed, so that a wrong call claims none."""
        owner = calls.current().owner
        return await database.transaction(
            self._sessions, lambda session: holds.get_for_payee(session, uuid.UUID(id_), owner=owner)
        )
