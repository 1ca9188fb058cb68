"""The running sandbox: the state and everything that works on it, one transaction at a time."""

import random
from collections.abc import Callable
from typing import TypeVar

from deploy.sandbox import authorizations, disputes, idempotency, webhook_endpoints
from deploy.sandbox.faults import Faults
from deploy.sandbox.settings import Settings
from deploy.sandbox.state import Call, State
from deploy.sandbox.store import Store
from deploy.sandbox.webhooks import Courier

Result = TypeVar("Result")


class Engine:
    """One sandbox; several can live in one process."""

    def __init__(self, settings: Settings) -> None:
        source = random.Random(settings.seed)  # noqa: S311 (test ids, and repeatable ones on request)
        self.state = State(settings, Store(settings.data), random=source)
        self.keys = idempotency.Keys()
        self.faults = Faults()
        self.courier = Courier(self.state)
        self.atomically(Call(), lambda: webhook_endpoints.configure(self.state))

    def atomically(self, call: Call, action: Callable[[], Result]) -> Result:
        """Run `action` and what it asks for later, all or nothing; events leave only when it is done.

        Nothing in here awaits, so requests never see each other half done.
        """
        self.state.call = call
        try:
            with self.state.store.transaction():
                result = action()
                self.state.follow_up()
        except BaseException:
            self.state.abandon()
            raise
        batch, self.state.outbox = self.state.outbox, []
        self.courier.accept(batch)
        return result

    def advance(self, seconds: int) -> None:
        """Let time pass: authorizations expire, disputes lapse, idempotency keys are forgotten."""
        self.state.clock.advance(seconds)
        self.atomically(Call(), self._lapse)

    def reset(self) -> None:
        """Forget everything but the settings."""
        self.courier.forget()
        self.faults.clear()
        self.state.clock.offset_seconds = 0
        self.state.store.clear()
        self.atomically(Call(), lambda: webhook_endpoints.configure(self.state))

    def _lapse(self) -> None:
        authorizations.lapse(self.state)
        disputes.lapse(self.state)
        idempotency.prune(self.state)
