"""What every operation works on: the store, the clock, and the request that is being answered."""

import string
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from deploy.sandbox import errors
from deploy.sandbox.clock import Clock
from deploy.sandbox.settings import API_VERSION, Settings
from deploy.sandbox.store import Object, Store

_ALPHABET = string.ascii_letters + string.digits


@dataclass(frozen=True, slots=True)
class Call:
    """The request being answered; a control or a clock has no id, as in Stripe's own events."""

    base_url: str = ""
    request_id: str | None = None
    idempotency_key: str | None = None
    version: str = API_VERSION


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event on its way to one endpoint."""

    number: int
    event: str
    type: str
    endpoint: str


@dataclass(slots=True)
class State:
    """One simulated Stripe account. Requests are answered one at a time, so `call` is always the current one."""

    settings: Settings
    store: Store
    clock: Clock = field(default_factory=Clock)
    random: Random = field(default_factory=Random)
    call: Call = field(default_factory=Call)
    follow_ups: list[Callable[[], object]] = field(default_factory=list)
    """What happens right after the answer is made up, in the same transaction: disputes, late refunds."""
    outbox: list[Delivery] = field(default_factory=list)
    """Deliveries that the running transaction has written; they leave when it commits."""

    def identifier(self, prefix: str, length: int = 24) -> str:
        """A new id such as `pi_…`."""
        return prefix + "_" + "".join(self.random.choices(_ALPHABET, k=length))

    def get(self, kind: str, identifier: str, *, param: str = "id") -> Object:
        """The object of this kind and id, unless it was deleted; raises Missing naming `param`."""
        found = self.store.get(identifier)
        if found is None or found["object"] != kind or found.get("deleted"):
            raise errors.Missing(kind, identifier, param=param)
        return found

    def later(self, action: Callable[[], object]) -> None:
        """Run `action` after the answer to this request is fixed, still within its transaction."""
        self.follow_ups.append(action)

    def follow_up(self) -> None:
        """Run what was asked for later, and what that asks for in turn."""
        while self.follow_ups:
            self.follow_ups.pop(0)()

    def abandon(self) -> None:
        """Forget what a rolled back transaction wanted to do."""
        self.follow_ups.clear()
        self.outbox.clear()
