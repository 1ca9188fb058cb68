"""Settlement: money that providers have collected goes into the wallets, in batches."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

import structlog

from kobklein import database, errors, ids, origins
from payments_service import decisions, metrics, repository
from payments_service.changes import Changes
from payments_service.models import Payment
from payments_service.repository import Cause, Mark
from payments_service.settings import MoneyPathSettings, Schedule
from payments_service.states import Step, Trigger
from payments_service.wallets import Deposit, Ledger, Refusal

MARK: Final = Mark("settlement", "settled", Cause(Trigger.SETTLEMENT))
_log = structlog.get_logger()


class Settlement:
    """Posts one transfer for each paid payment; the transfer's id derives from the payment's, so it is posted once."""

    def __init__(
        self,
        sessions: database.Sessions,
        *,
        ledger: Ledger,
        changes: Changes,
        requests: origins.Memory,
        settings: MoneyPathSettings,
    ) -> None:
        self._sessions = sessions
        self._ledger = ledger
        self._changes = changes
        self._requests = requests
        self._settings = settings

    async def run(self) -> int:
        """Settle a batch of due payments, and return how many were claimed.

        Died after the claim, or after the ledger's commit: the lease runs out, the transfers are posted again, and the
        ledger answers them as it did before. Died after the last transaction: nothing is left to do.
        """
        claimed = await database.transaction(
            self._sessions,
            lambda session: repository.claim_due(
                session,
                (Step.SETTLE,),
                limit=self._settings.settlement_size,
                lease_seconds=self._settings.lease_seconds,
            ),
        )
        if claimed:
            await self._settle(claimed)
        return len(claimed)

    async def _settle(self, claimed: Sequence[Payment]) -> None:
        """Post, and complete what was posted.

        A payment whose deposit the ledger refuses stays PROCESSING: the money is the user's, so it is offered again
        until the ledger takes it, and every refusal is counted and logged.
        """
        try:
            with origins.scope(origins.joined(self._requests.of(payment.id) for payment in claimed)):
                results = await self._ledger.post([_deposit(payment) for payment in claimed])
        except errors.Unavailable as error:
            _log.warning("ledger out of reach", payments=[str(each.id) for each in claimed], error=str(error.__cause__))
            await self._postpone(claimed, self._settings.ledger_schedule)
            return
        posted, refused = [], []
        for payment, refusal in zip(claimed, results, strict=True):
            if refusal is None:
                posted.append(payment)
            else:
                _report(payment, refusal)
                refused.append(payment)
        if posted:
            await self._complete(posted)
        await self._postpone(refused, self._settings.refusal_schedule)

    async def _complete(self, posted: Sequence[Payment]) -> None:
        completed = await database.transaction(
            self._sessions, lambda session: repository.complete(session, posted, MARK)
        )
        metrics.SETTLED.inc(len(completed))
        for payment in completed:
            _log.info("settled", payment=str(payment.id), **self._requests.of(payment.id).log_fields)
            self._requests.forget(payment.id)
            self._changes.tell(payment)

    async def _postpone(self, claimed: Sequence[Payment], schedule: Schedule) -> None:
        by_pause: defaultdict[float, list[Payment]] = defaultdict(list)
        for payment in claimed:
            by_pause[decisions.pause(schedule, payment.attempts)].append(payment)

        async def let_go(session: database.Session) -> None:
            for seconds, payments in by_pause.items():
                await repository.let_go(session, payments, seconds=seconds)

        await database.transaction(self._sessions, let_go)


def _report(payment: Payment, refusal: Refusal) -> None:
    metrics.SETTLEMENT_REFUSED.labels(refusal.reason).inc()
    _log.error("deposit refused", payment=str(payment.id), reason=refusal.reason)


def _deposit(payment: Payment) -> Deposit:
    return Deposit(
        id=ids.derived(payment.id, "settle"),
        payment_id=payment.id,
        provider=payment.method.lower(),
        user_id=payment.user_id,
        amount=payment.received_amount,
        currency=payment.currency,
        reference=payment.reference,
        description=f"Payment {payment.reference}",
    )
