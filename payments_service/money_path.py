"""The way of a PROCESSING payment to its end: one claimed step after the other.

Each step is: a transaction that claims it (a lease for its holder, a new fence against every earlier one), the call to
the provider outside of any transaction, and a transaction that records the result under the fence. A process that dies
in between leaves a lease that runs out; whoever claims the step then repeats it, and every step may be repeated.
"""

import datetime
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import sqlalchemy as sa
import structlog

from kobklein import database, idempotency, origins
from payments_service import decisions, metrics, providers, repository
from payments_service.changes import Changes
from payments_service.models import Payment
from payments_service.repository import TIMER, Cause, Mark
from payments_service.settings import MoneyPathSettings
from payments_service.states import Step, Trigger

MARK: Final = "money_path"
_log = structlog.get_logger()
Ask = Callable[[Payment], Awaitable[providers.Outcome]]


class MoneyPath:
    """Takes steps. The calls that serve users and the worker that recovers what they left use the same ones."""

    def __init__(
        self,
        sessions: database.Sessions,
        *,
        provider: providers.Provider,
        changes: Changes,
        requests: origins.Memory,
        settings: MoneyPathSettings,
    ) -> None:
        self._sessions = sessions
        self._provider = provider
        self._changes = changes
        self._requests = requests
        self._settings = settings
        self._steps: Mapping[Step, Ask] = {
            Step.AUTHORISE: self._authorise,
            Step.CONFIRM: lambda payment: self._provider.confirm(_intent_id(payment)),
            Step.FETCH: lambda payment: self._provider.fetch(_intent_id(payment)),
            Step.CANCEL: lambda payment: self._provider.cancel(_intent_id(payment)),
        }

    async def claim(self, session: database.Session, payment: Payment, *, step: Step | None = None) -> Payment | None:
        """Claim one payment in the caller's transaction, for its own step or another one; None while it is taken."""
        return await repository.claim(session, payment.id, lease_seconds=self._settings.lease_seconds, step=step)

    async def claim_due(self, *, limit: int) -> list[Payment]:
        """Claim payments whose step at the provider is due."""
        return await database.transaction(
            self._sessions,
            lambda session: repository.claim_due(
                session, repository.PROVIDER_STEPS, limit=limit, lease_seconds=self._settings.lease_seconds
            ),
        )

    async def advance(self, payment: Payment, cause: Cause) -> None:
        """Take the step that `payment` is claimed for because of `cause`, and those that follow at once.

        Died before the provider was asked, or after it and before the result was recorded: the lease runs out, and the
        step is taken again; the provider then gives the first outcome again. Died after the result: the next step is
        due. A holder that slept longer than its lease finds its fence outdated and changes nothing.
        """
        held = payment
        try:
            while (moved := await self._step(held, cause)) is not None:
                held = moved
        except repository.Superseded:
            _log.info("superseded", payment=str(payment.id), fence=payment.fence)
        except Exception as error:  # Whatever it is, the step is not repeated without a pause.
            _log.error("step failed", payment=str(payment.id), step=held.step, exc_info=error)
            await self._later(held, providers.Unknown(repr(error)))

    async def _step(self, payment: Payment, cause: Cause) -> Payment | None:
        """Take one step; return the payment if the next one is to be taken at once."""
        if payment.step is None:
            return None
        try:
            outcome = await self._steps[payment.step](payment)
            if isinstance(outcome, providers.Refused) and outcome.field:
                await self._undo(payment, outcome, cause)
                return None
            decision = decisions.decide(payment, outcome, settings=self._settings, expired=self._expired(payment))
        except providers.Unknown as error:
            await self._later(payment, error)
            return None
        metrics.STEPS.labels(payment.step, decision.what.partition(":")[0]).inc()
        if decision.values.get("failure_code") == decisions.AMOUNT_MISMATCH:
            _log.error(decisions.AMOUNT_MISMATCH, payment=str(payment.id))
        changed = await self._record(payment, decision, cause)
        return changed if decision.go_on else None

    async def _authorise(self, payment: Payment) -> providers.Outcome:
        """Charge the payer, as often as needed under one key; once the key may be forgotten, look instead of asking.

        By then every request has ended long ago, so an intent that is not there was never made.
        """
        asked = payment.authorised_time or payment.created_time
        if _age(asked) < self._settings.key_seconds:
            return await self._provider.authorise(_charge(payment, asked))
        found = await self._provider.find(payment.id, since=asked)
        return found or providers.Refused(
            code="provider_unreachable", message="The provider could not be reached; nothing was charged."
        )

    async def _record(self, payment: Payment, decision: decisions.Decision, cause: Cause) -> Payment:
        """Record a decision under the fence; one that says nothing new only sets when to look again.

        An event that came before its intent was known has made the charge due. Repeated, that gives the provider's
        first answer, so the state of now is fetched at once.
        """
        step: Step | None = decision.values["step"]
        early = cause.trigger is Trigger.EVENT and payment.step is Step.AUTHORISE and step is Step.FETCH
        if not decision.go_on and not decision.news(payment):
            return await self._reschedule(payment, seconds=decision.due_seconds, step=step)
        values: dict[str, Any] = {
            **decision.values,
            "attempts": payment.attempts if step is payment.step else int(decision.go_on),
            "due_time": repository.seconds_from_now(0 if early else decision.due_seconds) if step else None,
            "due_event": cause.event_id if early else "",
            "leased_until": repository.seconds_from_now(self._settings.lease_seconds) if decision.go_on else None,
        }
        if step is Step.SETTLE:
            self._requests.note(payment.id)
        changed = await database.transaction(
            self._sessions,
            lambda session: repository.write(session, payment, values, Mark(MARK, decision.what, cause)),
        )
        _log.info("step taken", payment=str(payment.id), step=payment.step, outcome=decision.what)
        self._changes.tell(changed)
        return changed

    async def _undo(self, payment: Payment, refused: providers.Refused, cause: Cause) -> None:
        """Take back a charge whose request the provider refused, and free the keys of the calls that asked for it.

        Died before it: the lease runs out, and the provider is asked again and refuses again. Died after it: a
        repetition of the call begins anew. Keys are locked before the payment, as the calls do, so that no two of them
        wait for each other.
        """

        async def work(session: database.Session) -> Payment:
            await idempotency.free(session, payment.id)
            pending = await repository.was_pending(session, payment.id)
            decision = decisions.undone(payment, refused, pending=pending)
            values = {**decision.values, "attempts": 0, "due_time": None, "due_event": "", "leased_until": None}
            if not pending:
                values["deleted_time"] = sa.func.clock_timestamp()
            return await repository.write(session, payment, values, Mark(MARK, decision.what, cause))

        changed = await database.transaction(self._sessions, work)
        metrics.STEPS.labels(str(payment.step), "undone").inc()
        self._changes.tell(changed)

    async def _later(self, payment: Payment, error: providers.Unknown) -> None:
        """Leave the step due again: nobody knows yet what the provider did."""
        seconds = decisions.pause(self._settings.provider_schedule, payment.attempts)
        _log.warning(
            "unknown outcome", payment=str(payment.id), step=payment.step, again_seconds=seconds, error=str(error)
        )
        metrics.STEPS.labels(str(payment.step), "unknown").inc()
        await self._reschedule(payment, seconds=seconds, step=payment.step, event_id=payment.due_event, unknown=True)

    async def _reschedule(
        self, payment: Payment, *, seconds: float, step: Step | None, event_id: str = "", unknown: bool = False
    ) -> Payment:
        left = await database.transaction(
            self._sessions,
            lambda session: repository.reschedule(
                session, payment, seconds=seconds, step=step, event_id=event_id, unknown=unknown
            ),
        )
        self._changes.tell(left)
        return left

    def _expired(self, payment: Payment) -> bool:
        return _age(payment.authorised_time or payment.created_time) > self._settings.payer_seconds


def cause(payment: Payment) -> Cause:
    """Return why a payment is due that no caller waits for."""
    return Cause(Trigger.EVENT, payment.due_event) if payment.due_event else TIMER


def _charge(payment: Payment, asked: datetime.datetime) -> providers.Charge:
    return providers.Charge(
        payment_id=payment.id,
        user_id=payment.user_id,
        reference=payment.reference,
        amount=payment.amount,
        currency=payment.currency,
        payment_method_id=payment.payment_method_id,
        key=f"{payment.id}-authorise" + (f"-{payment.refused_charges}" if payment.refused_charges else ""),
        asked_time=asked,
    )


def _intent_id(payment: Payment) -> str:
    if payment.stripe_payment_intent_id is None:
        raise providers.Unknown("no intent is known yet")
    return payment.stripe_payment_intent_id


def _age(time: datetime.datetime) -> float:
    return (datetime.datetime.now(datetime.UTC) - time).total_seconds()
