"""What tests do to deliveries: hold them back, send them twice, lose them."""

import random
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from deploy.sandbox import webhook_endpoints
from deploy.sandbox.state import Delivery


class Rule(BaseModel):
    """Applies to the next `count` deliveries of these types, or to all of them."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["duplicate", "withhold"]
    types: list[str] = Field(default=["*"], min_length=1, max_length=100)
    times: int = Field(default=1, ge=1, le=100)
    """For `duplicate`: how many extra deliveries."""
    count: int | None = Field(default=None, ge=1)


class Release(BaseModel):
    """In which order to let go what was held back."""

    model_config = ConfigDict(extra="forbid")

    order: Literal["kept", "reversed", "shuffled"] = "kept"
    seed: int | None = None
    events: list[str] | None = None
    """Only these events, in this order; the rest stays held back."""


class Disturbances:
    """The rules at work and what is held back."""

    def __init__(self) -> None:
        self.rules: list[Rule] = []
        self.held: list[Delivery] = []
        self._types: list[str] = []

    def hold(self, types: list[str]) -> None:
        """From now on keep back deliveries of these types."""
        self._types = types

    def keeps(self, delivery: Delivery) -> bool:
        """Whether this delivery is to be held back."""
        return webhook_endpoints.matches(delivery.type, self._types)

    def copies(self, delivery: Delivery) -> int:
        """How often to send this delivery; zero loses it. Uses up the rules that count."""
        copies = 1
        for rule in list(self.rules):
            if not webhook_endpoints.matches(delivery.type, rule.types):
                continue
            self._use(rule)
            if rule.kind == "withhold":
                return 0
            copies += rule.times
        return copies

    def release(self, wish: Release) -> list[Delivery]:
        """Stop holding back and hand out what was held, in the wished order."""
        if wish.events is not None:
            chosen = [delivery for event in wish.events for delivery in self.held if delivery.event == event]
            self.held = [delivery for delivery in self.held if delivery.event not in wish.events]
            return chosen
        released, self.held, self._types = self.held, [], []
        if wish.order == "reversed":
            released.reverse()
        elif wish.order == "shuffled":
            random.Random(wish.seed).shuffle(released)  # noqa: S311 (an order for a test, not a secret)
        return released

    def clear(self) -> None:
        """Back to normal; what was held back is dropped."""
        self.rules.clear()
        self.held.clear()
        self._types = []

    def show(self) -> dict[str, Any]:
        """The rules, and which events are held back."""
        return {
            "holding": self._types,
            "held": [{"event": delivery.event, "type": delivery.type} for delivery in self.held],
            "rules": [rule.model_dump() for rule in self.rules],
        }

    def _use(self, rule: Rule) -> None:
        if rule.count is None:
            return
        rule.count -= 1
        if rule.count == 0:
            self.rules.remove(rule)
