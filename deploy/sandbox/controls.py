"""The control API under `/_sandbox`: what tests use to make things happen and to look behind the scenes."""

from typing import Any

from pydantic import Field
from starlette.requests import Request
from starlette.routing import Route

from deploy.sandbox import errors, faults, ledger
from deploy.sandbox.control_requests import Control, Wish, read
from deploy.sandbox.engine import Engine
from deploy.sandbox.payment_controls import PaymentControls
from deploy.sandbox.webhook_controls import WebhookControls


class Advance(Wish):
    """Move the clock."""

    seconds: int = Field(ge=0, le=10 * 366 * 86_400)


def routes(engine: Engine) -> list[Route]:
    """The whole control API."""
    controls = SystemControls(engine)
    controls.all = [*controls.table(), *PaymentControls(engine).table(), *WebhookControls(engine).table()]
    return [control.route() for control in controls.all]


class SystemControls:
    """The part of the control API that concerns the sandbox as a whole."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._state = engine.state
        self.all: list[Control] = []

    def table(self) -> list[Control]:
        """Every control of this part."""
        return [
            Control("GET", "", self.index),
            Control("GET", "/health", self.health),
            Control("POST", "/reset", self.reset),
            Control("GET", "/clock", self.clock),
            Control("POST", "/clock", self.advance),
            Control("GET", "/ledger", self.ledger),
            Control("GET", "/objects/{id}", self.show),
            Control("GET", "/faults", self.faults),
            Control("POST", "/faults", self.add_fault),
            Control("DELETE", "/faults", self.clear_faults),
            Control("DELETE", "/faults/{id:int}", self.remove_fault),
        ]

    async def index(self, _request: Request) -> Any:
        """This list."""
        return {"controls": [control.show() for control in self.all]}

    async def health(self, _request: Request) -> Any:
        """That it serves, and how much it holds."""
        return {"status": "ok", "objects": self._state.store.counts()}

    async def reset(self, _request: Request) -> Any:
        """Forget everything but the settings: objects, ledger, keys, deliveries, faults, the clock's offset."""
        self._engine.reset()
        return {"status": "ok"}

    async def clock(self, _request: Request) -> Any:
        """The sandbox's time."""
        return {"now": self._state.clock.now(), "offset_seconds": self._state.clock.offset_seconds}

    async def advance(self, request: Request) -> Any:
        """Let time pass: authorizations expire, disputes lapse, funds become available, keys are forgotten."""
        self._engine.advance((await read(request, Advance)).seconds)
        return await self.clock(request)

    async def ledger(self, request: Request) -> Any:
        """Totals per currency and every movement, or those of one `payment_intent`."""
        intent = request.query_params.get("payment_intent")
        return {
            "totals": ledger.totals(self._state, payment_intent=intent),
            "movements": ledger.movements(self._state, payment_intent=intent),
        }

    async def show(self, request: Request) -> Any:
        """One object, whatever its kind, as the API shows it."""
        found = self._state.store.get(request.path_params["id"])
        if found is None or found["object"] == "webhook_secret":
            raise errors.Missing("object", request.path_params["id"])
        return found

    async def faults(self, _request: Request) -> Any:
        """The armed faults and how often each struck."""
        return {"faults": self._engine.faults.show()}

    async def add_fault(self, request: Request) -> Any:
        """Arm a fault."""
        return self._engine.faults.add(await read(request, faults.Rule)).show()

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
