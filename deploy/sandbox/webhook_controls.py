"""Controls over the delivery of events: what is on its way, and how to upset it."""

from typing import Any

from pydantic import Field
from starlette.requests import Request

from deploy.sandbox import deliveries, errors, events
from deploy.sandbox.control_requests import Control, Wish, read
from deploy.sandbox.disturbances import Release, Rule
from deploy.sandbox.engine import Engine

LOG_LIMIT = 1000


class Hold(Wish):
    """Which deliveries to hold back."""

    types: list[str] = Field(default=["*"], min_length=1)


class Wait(Wish):
    """How long to wait for deliveries to come to rest."""

    timeout_seconds: float = Field(default=10, gt=0, le=600)


class Again(Wish):
    """How often to deliver an event again."""

    times: int = Field(default=1, ge=1, le=100)


class WebhookControls:
    """The part of the control API that is about webhooks."""

    def __init__(self, engine: Engine) -> None:
        self._state = engine.state
        self._courier = engine.courier
        self._disturbances = engine.courier.disturbances

    def table(self) -> list[Control]:
        """Every control of this part."""
        return [
            Control("GET", "/webhooks", self.show),
            Control("GET", "/webhooks/deliveries", self.deliveries),
            Control("POST", "/webhooks/rules", self.add_rule),
            Control("DELETE", "/webhooks/rules", self.clear_rules),
            Control("POST", "/webhooks/hold", self.hold),
            Control("POST", "/webhooks/release", self.release),
            Control("POST", "/webhooks/wait", self.wait),
            Control("POST", "/events/{id}/deliver", self.deliver),
        ]

    async def show(self, _request: Request) -> Any:
        """What is under way, held back and disturbed."""
        return {**self._courier.show(), "deliveries": deliveries.counts(self._state)}

    async def deliveries(self, request: Request) -> Any:
        """The delivery log with every try, newest first; `event`, `status` and `limit` narrow it."""
        query = request.query_params
        limit = query.get("limit", "100")
        if not limit.isdecimal() or not 0 < int(limit) <= LOG_LIMIT:
            raise errors.InvalidParameter(f"The limit must be between 1 and {LOG_LIMIT}.", param="limit")
        status = query.get("status")
        if status not in (None, *deliveries.STATUSES):
            raise errors.InvalidParameter(f"A delivery is one of {', '.join(deliveries.STATUSES)}.", param="status")
        log = deliveries.show(self._state, event=query.get("event"), status=status, limit=int(limit))
        return {"deliveries": log}

    async def add_rule(self, request: Request) -> Any:
        """Duplicate or withhold coming deliveries."""
        self._disturbances.rules.append(await read(request, Rule))
        return self._courier.show()

    async def clear_rules(self, _request: Request) -> Any:
        """Neither duplicate nor withhold any more; what is held back stays held back."""
        self._disturbances.rules.clear()
        return self._courier.show()

    async def hold(self, request: Request) -> Any:
        """Hold deliveries back until they are released."""
        self._disturbances.hold((await read(request, Hold)).types)
        return self._courier.show()

    async def release(self, request: Request) -> Any:
        """Deliver what was held back, one by one in the wished order; answers when each was tried once."""
        order = self._disturbances.release(await read(request, Release))
        await self._courier.release(order)
        return {"released": [delivery.event for delivery in order], **self._courier.show()}

    async def wait(self, request: Request) -> Any:
        """Wait until no delivery is under way."""
        idle = await self._courier.wait_until_idle((await read(request, Wait)).timeout_seconds)
        return {"idle": idle, **self._courier.show()}

    async def deliver(self, request: Request) -> Any:
        """Deliver an event again, now, to every endpoint it was meant for."""
        again = await read(request, Again)
        event = events.retrieve(self._state, {"id": request.path_params["id"]})
        for delivery in deliveries.of_event(self._state, event["id"]) * again.times:
            self._courier.resend(delivery)
        return self._courier.show()
