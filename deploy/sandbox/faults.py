"""Faults on request: what goes wrong on which routes, how often."""

import fnmatch
import random
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Kind(StrEnum):
    """What goes wrong. The ones named `after` happen when the effect is already there."""

    DELAY = "delay"
    DROP_AFTER_SUCCESS = "drop_after_success"
    ERROR_500 = "error_500"
    ERROR_500_AFTER_SUCCESS = "error_500_after_success"
    RATE_LIMIT_429 = "rate_limit_429"
    CONFLICT_409 = "conflict_409"


class Rule(BaseModel):
    """One fault: requests that match get it, `count` times or with some probability."""

    model_config = ConfigDict(extra="forbid")

    kind: Kind
    method: str = "*"
    path: str = "*"
    """A pattern such as `/v1/payment_intents*`; `*` matches any characters."""
    count: int | None = Field(default=None, ge=1)
    probability: float = Field(default=1.0, gt=0, le=1)
    seed: int | None = None
    delay_seconds: float = Field(default=1.0, ge=0, le=600)


class Fault:
    """A rule at work."""

    def __init__(self, identifier: int, rule: Rule) -> None:
        self.identifier = identifier
        self.rule = rule
        self.hits = 0
        self._random = random.Random(rule.seed)  # noqa: S311 (chance in tests, not a secret)

    def hit(self, method: str, path: str) -> bool:
        """Whether this request gets the fault; counts it when so."""
        rule = self.rule
        if rule.count is not None and self.hits >= rule.count:
            return False
        if not (fnmatch.fnmatchcase(method, rule.method.upper()) and fnmatch.fnmatchcase(path, rule.path)):
            return False
        if rule.probability < 1 and self._random.random() >= rule.probability:
            return False
        self.hits += 1
        return True

    def show(self) -> dict[str, Any]:
        """The rule with its id and how often it struck."""
        return {"id": self.identifier, **self.rule.model_dump(mode="json"), "hits": self.hits}


class Faults:
    """All faults, in the order they were added."""

    def __init__(self) -> None:
        self._faults: dict[int, Fault] = {}
        self._next = 1

    def add(self, rule: Rule) -> Fault:
        """Arm one fault."""
        fault = Fault(self._next, rule)
        self._faults[self._next] = fault
        self._next += 1
        return fault

    def remove(self, identifier: int) -> bool:
        """Disarm one fault; False when there is none with this id."""
        return self._faults.pop(identifier, None) is not None

    def clear(self) -> None:
        """Disarm all."""
        self._faults.clear()

    def show(self) -> list[dict[str, Any]]:
        """Every fault."""
        return [fault.show() for fault in self._faults.values()]

    def strike(self, method: str, path: str) -> list[Rule]:
        """The faults this request gets: every delay, and the first of the others that matches."""
        struck: list[Rule] = []
        failed = False
        for fault in self._faults.values():
            delay = fault.rule.kind is Kind.DELAY
            if (delay or not failed) and fault.hit(method, path):
                struck.append(fault.rule)
                failed = failed or not delay
        return struck
