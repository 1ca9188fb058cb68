"""The control API under `/_sandbox`: what tests use to make things happen and to look behind the scenes."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from deploy.sandbox import (
    authentications,
    challenges,
    confirmations,
    deliveries,
    disputes,
    errors,
    events,
    faults,
    instruments,
    ledger,
    payment_intents,
    refunds,
)
from deploy.sandbox.disturbances import Release
from deploy.sandbox.disturbances import Rule as Disturbance
from deploy.sandbox.endpoints import base_url
from deploy.sandbox.engine import Engine
from deploy.sandbox.state import Call
from deploy.sandbox.store import Object

Body = TypeVar("Body", bound=BaseModel)


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Advance(_Body):
    """Move the clock."""

    seconds: int = Field(ge=0, le=10 * 366 * 86_400)


class Failure(_Body):
    """Why a refund comes back."""

    reason: str = "unknown"


class NewDispute(_Body):
    """What the payer disputes: a charge, or the charge of a payment."""

    charge: str | None = None
    payment_intent: str | None = None
    reason: str = "fraudulent"
    amount: int | None = Field(default=None, gt=0)
    inquiry: bool = False


class Hold(_Body):
    """Which deliveries to hold back."""

    types: list[str] = Field(default=["*"], min_length=1)


class Wait(_Body):
    """How long to wait for deliveries to come to rest."""

    timeout_seconds: float = Field(default=10, gt=0, le=600)


class Again(_Body):
    """How often to deliver an event again."""

    times: int = Field(default=1, ge=1, le=100)


class Controls:
    """The control API of one sandbox."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._state = engine.state
        self._courier = engine.courier

    def routes(self) -> list[Route]:
        """Every control."""
        return [
            Route("/_sandbox" + path, _json(action), methods=[method])
            for method, path, action in (
                ("GET", "/health", self.health),
                ("POST", "/reset", self.reset),
                ("GET", "/clock", self.clock),
                ("POST", "/clock", self.advance),
                ("GET", "/ledger", self.ledger),
                ("GET", "/faults", self.faults),
                ("POST", "/faults", self.add_fault),
                ("DELETE", "/faults", self.clear_faults),
                ("DELETE", "/faults/{id:int}", self.remove_fault),
                ("POST", "/payment_intents/{id}/complete", self.complete_payment),
                ("POST", "/payment_intents/{id}/fail", self.fail_payment),
                ("POST", "/payment_intents/{id}/expire", self.expire_payment),
                ("POST", "/setup_intents/{id}/complete", self.complete_setup),
                ("POST", "/setup_intents/{id}/fail", self.fail_setup),
                ("POST", "/refunds/{id}/complete", self.complete_refund),
                ("POST", "/refunds/{id}/fail", self.fail_refund),
                ("POST", "/disputes", self.open_dispute),
                ("POST", "/disputes/{id}/escalate", self.escalate_dispute),
                ("POST", "/disputes/{id}/{status}", self.decide_dispute),
                ("GET", "/webhooks", self.webhooks),
                ("GET", "/webhooks/deliveries", self.deliveries),
                ("POST", "/webhooks/rules", self.add_disturbance),
                ("DELETE", "/webhooks/rules", self.clear_disturbances),
                ("POST", "/webhooks/hold", self.hold),
                ("POST", "/webhooks/release", self.release),
                ("POST", "/webhooks/wait", self.wait),
                ("POST", "/events/{id}/deliver", self.deliver),
            )
        ]

    async def health(self, _request: Request) -> Any:
        """That it serves, and how much it holds."""
        return {"status": "ok", "objects": self._state.store.counts()}

    async def reset(self, _request: Request) -> Any:
        """Forget everything."""
        self._engine.reset()
        return {"status": "ok"}

    async def clock(self, _request: Request) -> Any:
        """The sandbox's time."""
        return {"now": self._state.clock.now(), "offset_seconds": self._state.clock.offset_seconds}

    async def advance(self, request: Request) -> Any:
        """Let time pass."""
        self._engine.advance((await _read(request, Advance)).seconds)
        return await self.clock(request)

    async def ledger(self, request: Request) -> Any:
        """Totals per currency and every movement, of all payments or of one."""
        intent = request.query_params.get("payment_intent")
        return {
            "totals": ledger.totals(self._state),
            "movements": ledger.movements(self._state, payment_intent=intent),
        }

    async def faults(self, _request: Request) -> Any:
        """The armed faults."""
        return {"faults": self._engine.faults.show()}

    async def add_fault(self, request: Request) -> Any:
        """Arm a fault."""
        return self._engine.faults.add(await _read(request, faults.Rule)).show()

    async def remove_fault(self, request: Request) -> Any:
        """Disarm one fault."""
        identifier = request.path_params["id"]
        if not self._engine.faults.remove(identifier):
            raise errors.Missing("fault", str(identifier))
        return await self.faults(request)

    async def clear_faults(self, request: Request) -> Any:
        """Disarm all faults."""
        self._engine.faults.clear()
        return await self.faults(request)

    async def complete_payment(self, request: Request) -> Any:
        """The payer authenticates, or a delayed debit arrives (or fails, if its test account is one that fails)."""
        return self._settle_payment(request, failed=False)

    async def fail_payment(self, request: Request) -> Any:
        """The payer fails to authenticate, or a delayed debit comes back."""
        return self._settle_payment(request, failed=True)

    async def expire_payment(self, request: Request) -> Any:
        """Let an authorization lapse."""
        return self._run(request, lambda: payment_intents.expire(self._state, request.path_params["id"]))

    async def complete_setup(self, request: Request) -> Any:
        """The payer authenticates."""
        return self._run(request, lambda: self._authenticate(request.path_params["id"], approved=True))

    async def fail_setup(self, request: Request) -> Any:
        """The payer fails to authenticate."""
        return self._run(request, lambda: self._authenticate(request.path_params["id"], approved=False))

    async def complete_refund(self, request: Request) -> Any:
        """A pending refund arrives."""
        return self._run(request, lambda: refunds.complete(self._state, request.path_params["id"]))

    async def fail_refund(self, request: Request) -> Any:
        """A refund comes back, even one that had succeeded."""
        reason = (await _read(request, Failure)).reason
        if reason not in refunds.FAILURE_REASONS:
            raise errors.InvalidParameter(f"Unknown reason: {reason}", param="reason")
        return self._run(request, lambda: refunds.fail(self._state, request.path_params["id"], reason=reason))

    async def open_dispute(self, request: Request) -> Any:
        """The payer disputes a charge."""
        wish = await _read(request, NewDispute)
        return self._run(request, lambda: self._dispute(wish))

    async def escalate_dispute(self, request: Request) -> Any:
        """An inquiry becomes a chargeback."""
        return self._run(request, lambda: disputes.escalate(self._state, request.path_params["id"]))

    async def decide_dispute(self, request: Request) -> Any:
        """End a dispute: `won`, `lost`, `warning_closed` or `prevented`."""
        status = request.path_params["status"]
        if status not in disputes.CLOSED:
            raise errors.InvalidParameter(f"A dispute cannot end as {status}.", param="status")
        return self._run(request, lambda: disputes.decide(self._state, request.path_params["id"], status))

    async def webhooks(self, _request: Request) -> Any:
        """What is under way, held back, and disturbed."""
        return {**self._courier.show(), "deliveries": deliveries.counts(self._state)}

    async def deliveries(self, request: Request) -> Any:
        """The log, newest first, by event or status."""
        query = request.query_params
        limit = query.get("limit", "100")
        if not limit.isdecimal():
            raise errors.InvalidParameter(f"Invalid integer: {limit}", param="limit")
        log = deliveries.show(self._state, event=query.get("event"), status=query.get("status"), limit=int(limit))
        return {"deliveries": log}

    async def add_disturbance(self, request: Request) -> Any:
        """Duplicate or withhold coming deliveries."""
        self._courier.disturbances.rules.append(await _read(request, Disturbance))
        return self._courier.show()

    async def clear_disturbances(self, _request: Request) -> Any:
        """Deliver normally again; what is held back stays held back."""
        self._courier.disturbances.rules.clear()
        return self._courier.show()

    async def hold(self, request: Request) -> Any:
        """Hold deliveries back until they are released."""
        self._courier.disturbances.hold((await _read(request, Hold)).types)
        return self._courier.show()

    async def release(self, request: Request) -> Any:
        """Deliver what was held back, one by one in the wished order; answers when each was tried once."""
        order = self._courier.disturbances.release(await _read(request, Release))
        await self._courier.release(order)
        return {"released": [delivery.event for delivery in order], **self._courier.show()}

    async def wait(self, request: Request) -> Any:
        """Wait until no delivery is under way."""
        idle = await self._courier.wait_until_idle((await _read(request, Wait)).timeout_seconds)
        return {"idle": idle, **self._courier.show()}

    async def deliver(self, request: Request) -> Any:
        """Deliver an event again, now, to every endpoint it was meant for."""
        again = await _read(request, Again)
        event = events.retrieve(self._state, {"id": request.path_params["id"]})
        for delivery in deliveries.of_event(self._state, event["id"]) * again.times:
            self._courier.resend(delivery)
        return self._courier.show()

    def _run(self, request: Request, action: Callable[[], Object]) -> Object:
        return self._engine.atomically(Call(base_url=base_url(request)), action)

    def _settle_payment(self, request: Request, *, failed: bool) -> Object:
        identifier = request.path_params["id"]

        def action() -> Object:
            intent = self._state.get("payment_intent", identifier)
            if intent["status"] != "processing":
                return self._authenticate(identifier, approved=not failed)
            instrument = instruments.of(self._state.get("payment_method", intent["payment_method"]))
            decline = instrument.decline or (instruments.BANK_UNAUTHORIZED if failed else None)
            confirmations.settle(self._state, intent, decline=decline)
            return self._state.get("payment_intent", identifier)

        return self._run(request, action)

    def _authenticate(self, intent: str, *, approved: bool) -> Object:
        challenge = challenges.open_for(self._state, intent)
        if challenge is None:
            raise errors.ApiError(f"{intent} waits for nothing that could be completed.")
        return authentications.decide(self._state, challenge["id"], approved=approved)[1]

    def _dispute(self, wish: NewDispute) -> Object:
        if wish.reason not in disputes.REASONS:
            raise errors.InvalidParameter(f"Unknown reason: {wish.reason}", param="reason")
        identifier = wish.charge
        if wish.payment_intent is not None:
            identifier = self._state.get("payment_intent", wish.payment_intent)["latest_charge"]
        charge = self._state.get("charge", identifier or "", param="charge")
        return disputes.open_(self._state, charge, reason=wish.reason, inquiry=wish.inquiry, amount=wish.amount)


def _json(action: Callable[[Request], Awaitable[Any]]) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        return Response(orjson.dumps(await action(request)), media_type="application/json")

    return endpoint


async def _read(request: Request, model: type[Body]) -> Body:
    """The request's JSON, an empty body being `{}`."""
    try:
        return model.model_validate_json(await request.body() or b"{}")
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise errors.InvalidParameter(problems) from error
