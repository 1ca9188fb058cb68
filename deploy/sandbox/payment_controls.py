"""Controls that stand for the payer, the payer's bank and the passing of time between them."""

from collections.abc import Callable
from typing import Any

from pydantic import Field
from starlette.requests import Request

from deploy.sandbox import (
    authentications,
    authorizations,
    challenges,
    confirmations,
    disputes,
    errors,
    instruments,
    refunds,
)
from deploy.sandbox.control_requests import Control, Wish, read
from deploy.sandbox.endpoints import base_url
from deploy.sandbox.engine import Engine
from deploy.sandbox.state import Call
from deploy.sandbox.store import Object


class Failure(Wish):
    """Why a refund comes back."""

    reason: str = "unknown"


class NewDispute(Wish):
    """What the payer disputes: a charge, or the charge of a payment; all of it unless an amount is given."""

    charge: str | None = None
    payment_intent: str | None = None
    reason: str = "fraudulent"
    amount: int | None = Field(default=None, gt=0)
    inquiry: bool = False


class PaymentControls:
    """The part of the control API that moves payments, refunds and disputes on."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._state = engine.state

    def table(self) -> list[Control]:
        """Every control of this part."""
        return [
            Control("POST", "/payment_intents/{id}/complete", self.complete),
            Control("POST", "/payment_intents/{id}/fail", self.fail),
            Control("POST", "/payment_intents/{id}/expire", self.expire),
            Control("POST", "/setup_intents/{id}/complete", self.complete),
            Control("POST", "/setup_intents/{id}/fail", self.fail),
            Control("POST", "/refunds/{id}/complete", self.complete_refund),
            Control("POST", "/refunds/{id}/fail", self.fail_refund),
            Control("POST", "/disputes", self.open_dispute),
            Control("POST", "/charges/{id}/dispute", self.dispute_charge),
            Control("POST", "/disputes/{id}/escalate", self.escalate_dispute),
            Control("POST", "/disputes/{id}/{status}", self.decide_dispute),
        ]

    async def complete(self, request: Request) -> Any:
        """The payer authenticates, or a delayed debit is decided as its test account says."""
        return self._run(request, lambda identifier: self._move_on(identifier, failed=False))

    async def fail(self, request: Request) -> Any:
        """The payer fails to authenticate, or a delayed debit comes back."""
        return self._run(request, lambda identifier: self._move_on(identifier, failed=True))

    async def expire(self, request: Request) -> Any:
        """Let an authorization lapse."""
        return self._run(request, lambda identifier: authorizations.expire(self._state, identifier))

    async def complete_refund(self, request: Request) -> Any:
        """A pending refund arrives."""
        return self._run(request, lambda identifier: refunds.complete(self._state, identifier))

    async def fail_refund(self, request: Request) -> Any:
        """A refund comes back, even one that had succeeded."""
        reason = (await read(request, Failure)).reason
        if reason not in refunds.FAILURE_REASONS:
            raise errors.InvalidParameter(f"Unknown reason: {reason}", param="reason")
        return self._run(request, lambda identifier: refunds.fail(self._state, identifier, reason=reason))

    async def open_dispute(self, request: Request) -> Any:
        """The payer disputes a charge."""
        wish = await read(request, NewDispute)
        return self._run(request, lambda _: self._dispute(wish))

    async def dispute_charge(self, request: Request) -> Any:
        """The payer disputes the whole of a charge as fraudulent."""
        return self._run(request, lambda identifier: self._dispute(NewDispute(charge=identifier)))

    async def escalate_dispute(self, request: Request) -> Any:
        """An inquiry becomes a chargeback."""
        return self._run(request, lambda identifier: disputes.escalate(self._state, identifier))

    async def decide_dispute(self, request: Request) -> Any:
        """End a dispute: won, lost, warning_closed or prevented."""
        status = request.path_params["status"]
        if status not in disputes.CLOSED:
            raise errors.InvalidParameter(f"A dispute cannot end as {status}.", param="status")
        return self._run(request, lambda identifier: disputes.decide(self._state, identifier, status))

    def _run(self, request: Request, action: Callable[[str], Object]) -> Object:
        identifier = request.path_params.get("id", "")
        return self._engine.atomically(Call(base_url=base_url(request)), lambda: action(identifier))

    def _move_on(self, identifier: str, *, failed: bool) -> Object:
        intent = self._state.store.get(identifier)
        if intent is not None and intent["status"] == "processing":
            return self._settle(intent, failed=failed)
        challenge = challenges.open_for(self._state, identifier)
        if challenge is None:
            raise errors.ApiError(f"{identifier} waits for nothing that could be decided.")
        return authentications.decide(self._state, challenge["id"], approved=not failed)[1]

    def _settle(self, intent: Object, *, failed: bool) -> Object:
        instrument = instruments.of(self._state.get("payment_method", intent["payment_method"]))
        decline = instrument.decline or (instruments.BANK_UNAUTHORIZED if failed else None)
        confirmations.settle(self._state, intent, decline=decline)
        return intent

    def _dispute(self, wish: NewDispute) -> Object:
        if wish.reason not in disputes.REASONS:
            raise errors.InvalidParameter(f"Unknown reason: {wish.reason}", param="reason")
        identifier = wish.charge
        if wish.payment_intent is not None:
            identifier = self._state.get("payment_intent", wish.payment_intent)["latest_charge"]
        charge = self._state.get("charge", identifier or "", param="charge")
        return disputes.open_(self._state, charge, reason=wish.reason, inquiry=wish.inquiry, amount=wish.amount)
