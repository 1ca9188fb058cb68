"""The calls that move a payment at its provider: charge, confirm, cancel.

Each records its intent with the idempotency key in one transaction, lets the money path take the step, waits a little
for the outcome, and keeps the answer under the key. The work goes on when the caller has gone; what the caller does not
learn now, it learns by repeating the call with its key, or by reading the payment.
"""

import asyncio
import contextlib
import dataclasses
import datetime
import functools
import math
import uuid
from collections.abc import Awaitable, Callable, Collection
from typing import Any, Final

from google.protobuf import message

from kobklein import calls, database, idempotency, ids
from kobklein import errors as common_errors
from kobklein.admission import Ticket
from kobklein.payments.v1 import payments_pb2
from payments_service import decisions, errors, messages, payments, providers, repository, states
from payments_service.admission import ChargeAdmission
from payments_service.changes import Changes
from payments_service.models import Payment
from payments_service.money_path import MoneyPath
from payments_service.payments import Change, NewPayment
from payments_service.repository import CALL, Mark
from payments_service.settings import MoneyPathSettings
from payments_service.states import Status, Step
from payments_service.workers import Background

_SOON: Final = datetime.timedelta(seconds=5)
_SPARE_SECONDS: Final = 0.5
_SPARE_SHARE: Final = 0.2
"""How long before the end of a call's time its answer leaves: so long, and no more than this share of what is left."""
_ENDED: Final = frozenset({Status.FAILED, Status.CANCELLED})


@dataclasses.dataclass(frozen=True, slots=True)
class _Begun:
    """A payment whose call has been recorded."""

    payment: Payment
    claimed: bool = False
    """Whether this process holds the payment for its next step."""


_Begin = Callable[[database.Session], Awaitable[_Begun]]
_Check = Callable[[Payment], None]


class Charges:
    """Serves the calls; the work itself is the money path's."""

    def __init__(
        self,
        sessions: database.Sessions,
        *,
        provider: providers.Provider,
        path: MoneyPath,
        changes: Changes,
        background: Background,
        admission: ChargeAdmission,
        settings: MoneyPathSettings,
        currencies: Collection[str],
    ) -> None:
        self._sessions = sessions
        self._provider = provider
        self._path = path
        self._changes = changes
        self._background = background
        self._admission = admission
        self._settings = settings
        self._currencies = currencies

    async def process(
        self, new: NewPayment, *, payment_method_id: str, request: message.Message
    ) -> payments_pb2.Payment:
        """Make a payment and charge it.

        Raises CurrencyNotOffered, and InvalidArgument for an amount or currency that the provider cannot take, before
        anything is recorded, and InvalidArgument for a request that the provider refuses; then the payment is
        withdrawn, and the key is free. Raises ProviderUnavailable if the provider did not answer; then the payment
        stays PROCESSING until it is resolved.
        """
        self._provider.check(new.amount, new.currency)
        payment_id = ids.new()
        charged = self._charged(payment_method_id)

        async def begin(session: database.Session) -> _Begun:
            common_errors.CurrencyNotOffered.check("currency", new.currency, self._currencies)
            payment = await payments.create(session, new, actor=_actor(), payment_id=payment_id, **charged, fence=1)
            return _Begun(payment, claimed=True)

        return await self._run(request, payment_id, begin, _check_taken, ticket=await self._admission.enter())

    async def confirm(
        self, payment_id: uuid.UUID, *, payment_method_id: str, request: message.Message
    ) -> payments_pb2.Payment:
        """Charge a PENDING payment, or ask the provider about a PROCESSING one.

        Raises PaymentNotFound, MethodNotProcessable, PaymentEnded, InvalidArgument and ProviderUnavailable; and
        PaymentBusy if the provider refused the card of another call that came first. After a refusal it is PENDING.
        """
        owner = calls.current().owner

        async def begin(session: database.Session) -> _Begun:
            payment = await repository.get(session, payment_id, owner=owner, lock=True)
            if payment.method not in states.PROCESSABLE:
                raise errors.MethodNotProcessable(method=payment.method)
            if payment.status in _ENDED:
                raise errors.PaymentEnded(status=payment.status)
            if payment.status is Status.PENDING:
                return await self._begin_charge(session, payment, payment_method_id)
            return await self._resume(session, payment)

        check = functools.partial(_check_own_card_taken, payment_method_id)
        return await self._run(request, payment_id, begin, check, ticket=await self._admission.enter())

    async def cancel(self, payment_id: uuid.UUID, change: Change, *, request: message.Message) -> payments_pb2.Payment:
        """Cancel a payment, at its provider first if it is there, and change what else `change` says.

        Raises PaymentNotFound, EtagMismatch, IllegalMove, PaymentBusy, PaymentPaid if the money came first, and
        ProviderUnavailable when the provider did not answer; then the cancellation stays wanted and is tried again.
        """
        owner = calls.current().owner

        async def begin(session: database.Session) -> _Begun:
            payment = await repository.get(session, payment_id, owner=owner, lock=True)
            payments.check_etag(payment, change.etag)
            values = change.values(payment)
            if not change.moves(payment, owner=owner):
                return _Begun(await self._described(session, payment, values))
            states.check_admin(payment.status, Status.CANCELLED)
            if payment.status is Status.PENDING:
                values |= {**repository.NO_FAILURE, "status": Status.CANCELLED}
                return _Begun(await repository.write(session, payment, values, Mark(_actor(), "cancelled", CALL)))
            return await self._begin_cancel(session, payment, change)

        return await self._run(request, payment_id, begin, _check_cancelled, ticket=None)

    async def _begin_charge(self, session: database.Session, payment: Payment, payment_method_id: str) -> _Begun:
        if not payment_method_id:
            raise common_errors.InvalidArgument.of("payment_method_id", "is required while the payment is PENDING")
        self._provider.check(payment.amount, payment.currency)
        values = {**self._charged(payment_method_id), "fence": payment.fence + 1}
        return _Begun(await repository.write(session, payment, values, Mark(_actor(), "charged", CALL)), claimed=True)

    async def _begin_cancel(self, session: database.Session, payment: Payment, change: Change) -> _Begun:
        if payment.step is Step.SETTLE:
            raise errors.PaymentPaid
        if payment.stripe_payment_intent_id is None:
            raise errors.PaymentBusy
        values = change.values(payment)
        payment = await repository.write(session, payment, values, Mark(_actor(), "cancellation asked", CALL))
        claimed = await self._path.claim(session, payment, step=Step.CANCEL)
        if claimed is None:
            raise errors.PaymentBusy
        return _Begun(claimed, claimed=True)

    async def _described(self, session: database.Session, payment: Payment, values: dict[str, Any]) -> Payment:
        """Change the description of a payment that is cancelled already, if the request asks for that."""
        if not values:
            return payment
        return await repository.write(session, payment, values, Mark(_actor(), f"updated: {', '.join(values)}", CALL))

    async def _resume(self, session: database.Session, payment: Payment) -> _Begun:
        """Take the payment's step now if it is with the provider and nobody holds it."""
        claimed = await self._path.claim(session, payment)
        return _Begun(claimed or payment, claimed=claimed is not None)

    def _charged(self, payment_method_id: str) -> dict[str, Any]:
        """Return the columns of a payment that is about to be charged by this process."""
        return {
            **repository.NO_FAILURE,
            "status": Status.PROCESSING,
            "step": Step.AUTHORISE,
            "payment_method_id": payment_method_id,
            "attempts": 1,
            "authorised_time": datetime.datetime.now(datetime.UTC),
            "due_time": repository.seconds_from_now(0),
            "leased_until": repository.seconds_from_now(self._settings.lease_seconds),
        }

    async def _run(
        self, request: message.Message, payment_id: uuid.UUID, begin: _Begin, check: _Check, *, ticket: Ticket | None
    ) -> payments_pb2.Payment:
        """Do the effect of a call once, whatever becomes of its caller.

        Died after the first transaction: the step is taken by whoever recovers it, and a repetition of the call takes
        over the payment that the first one made, once the lease of the key is over. Died before the last transaction:
        the same, and the answer is the payment as it then is.
        """
        with contextlib.ExitStack() as stack:
            stack.callback(self._admission.leave, ticket)
            try:
                begun = await database.transaction(
                    self._sessions, lambda session: self._recorded(session, request, payment_id, begin, ticket)
                )
            finally:
                self._admission.begun(ticket)
            if isinstance(begun, bytes):
                return idempotency.replay(begun, payments_pb2.Payment)
            finished = self._background.start(self._finish(begun, check), done=stack.pop_all().close)
        return await self._in_time(finished, begun.payment)

    async def _recorded(
        self,
        session: database.Session,
        request: message.Message,
        payment_id: uuid.UUID,
        begin: _Begin,
        ticket: Ticket | None,
    ) -> _Begun | bytes:
        lease = datetime.timedelta(seconds=self._settings.call_lease_seconds)
        claim = await idempotency.claim(session, request, resource_id=payment_id, lease=lease)
        if claim.answer is not None:
            return claim.answer
        if claim.first or claim.resource_id is None:
            begun = await begin(session)
            self._admission.check_in_time(ticket)
            return begun
        return await self._resume(session, await repository.get(session, claim.resource_id, lock=True))

    async def _in_time(self, finished: asyncio.Task[payments_pb2.Payment], payment: Payment) -> payments_pb2.Payment:
        """Return the answer, or the payment as it was recorded while there is still time to say so.

        A recorded payment goes on, so its caller is not told that the call failed. The answer that the key
        gets is the one that comes later.
        """
        left = calls.current().deadline - asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(left - min(_SPARE_SECONDS, left * _SPARE_SHARE) if left < math.inf else None):
                return await asyncio.shield(finished)
        except TimeoutError:
            return messages.render(payment)

    async def _finish(self, begun: _Begun, check: _Check) -> payments_pb2.Payment:
        """Take the step, wait for the wallet, and keep the answer."""
        if begun.claimed:
            self._background.start(self._path.advance(begun.payment, CALL))
        payment = await self._changes.until(begun.payment, _at_rest, seconds=self._settings.answer_seconds)
        if not _at_rest(payment):
            part = "ledger" if payment.step is Step.SETTLE else "provider"
            waited = self._settings.answer_seconds
            calls.current().notice = (
                f"payment {payment.id} waited {waited:g} s for the {part} and goes on without the call"
            )
        return await self._answer(payment, check)

    async def _answer(self, payment: Payment, check: _Check) -> payments_pb2.Payment:
        """Keep the answer under the key, or return the one that is there: all that repeat a call get the same answer.

        A refusal is not kept: a repetition finds it again in the payment's state.

        For an unknown outcome that frees the key, so that a repetition takes over the payment and asks again at once.
        """
        try:
            check(payment)
            _check_known(payment)
        except common_errors.Error:
            await database.transaction(self._sessions, idempotency.release)
            raise
        answer = messages.render(payment)
        earlier = await database.transaction(self._sessions, lambda session: idempotency.keep(session, answer))
        return answer if earlier is None else idempotency.replay(earlier, payments_pb2.Payment)


def _at_rest(payment: Payment) -> bool:
    """Return whether nothing is going to happen to a payment soon: nobody holds it, and its next step is not due."""
    now = datetime.datetime.now(datetime.UTC)
    held = payment.leased_until is not None and payment.leased_until > now
    soon = payment.due_time is not None and payment.due_time < now + _SOON
    return not held and not (soon and payment.step is Step.SETTLE)


def _check_taken(payment: Payment) -> None:
    """Raise InvalidArgument if the provider refused a field of the request, so that no charge was made."""
    if payment.failure_field:
        raise common_errors.InvalidArgument.of(payment.failure_field, payment.failure_message)


def _check_own_card_taken(payment_method_id: str, payment: Payment) -> None:
    """Do the same for a call that may have met one with another card; raises PaymentBusy where that was refused."""
    if payment.failure_field == "payment_method_id" and payment.payment_method_id != payment_method_id:
        raise errors.PaymentBusy
    _check_taken(payment)


def _check_known(payment: Payment) -> None:
    """Raise ProviderUnavailable for a payment whose last attempt at the provider ended without an outcome.

    One that is still being asked about, or that waits for the ledger, is no such payment: PROCESSING is then the truth.
    """
    if payment.outcome_unknown:
        raise errors.ProviderUnavailable(payment_id=payment.id)


def _check_cancelled(payment: Payment) -> None:
    collected = payment.failure_code == decisions.AMOUNT_MISMATCH
    if collected or payment.step is Step.SETTLE or payment.status in states.VOLUME:
        raise errors.PaymentPaid
    if payment.status is Status.FAILED:
        raise errors.IllegalMove(before=payment.status, after=Status.CANCELLED)


def _actor() -> str:
    return calls.current().subject
