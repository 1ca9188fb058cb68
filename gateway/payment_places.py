"""The card payments that a gateway lets through at a time: as many as the services behind it take.

The limit falls when they refuse some as OVERLOADED. So most that are too many are refused here, which costs least.
"""

import collections
from typing import Final

from gateway import metrics
from kobklein import admission, errors

_KNOWN_KEYS: Final = 10_000
"""How many keys of card payments that were let through are remembered."""
_REFUSED_BEHIND: Final = 0.1
"""Share of the card payments let through that may be refused behind."""


class PaymentPlaces:
    """The places of card payments in one process."""

    def __init__(self, settings: admission.AdmissionSettings) -> None:
        self._admission = admission.Admission(settings, tolerated=_REFUSED_BEHIND)
        self._keys: collections.OrderedDict[tuple[str, str], None] = collections.OrderedDict()
        metrics.PAYMENTS_LIMIT.set_function(lambda: self._admission.limit)

    def take(self, subject: str, key: str) -> "PaymentPlace":
        """Return a place, to be freed; raises Overloaded when there is none.

        The repetition of a call that was let through needs none: its caller is owed the answer.
        """
        ticket = self._admission.enter()
        if ticket is None and (subject, key) not in self._keys:
            metrics.PAYMENTS_REFUSED.inc()
            raise errors.Overloaded(retry_after_seconds=self._admission.retry_seconds())
        self._remember(subject, key)
        return PaymentPlace(self._admission, ticket)

    def _remember(self, subject: str, key: str) -> None:
        self._keys[subject, key] = None
        self._keys.move_to_end((subject, key))
        if len(self._keys) > _KNOWN_KEYS:
            self._keys.popitem(last=False)


class PaymentPlace:
    """The place of one card payment."""

    __slots__ = ("_admission", "_refused", "_ticket")

    def __init__(self, counted: admission.Admission, ticket: admission.Ticket | None) -> None:
        self._admission = counted
        self._ticket = ticket
        self._refused = False

    def refused(self) -> None:
        """Note that the service behind was overloaded."""
        self._refused = True

    def free(self) -> None:
        """Give the place back."""
        if self._ticket is not None:
            self._admission.judge(self._ticket, good=not self._refused)
            self._admission.leave()
