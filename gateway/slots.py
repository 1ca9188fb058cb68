"""How much the gateway serves at a time: requests, answered soon, webhooks, streams, which stay, and card payments.

Each kind has places of its own: however many clients watch, pay by card, or send webhooks that never end, the places of
requests are there for requests, and those of card payments for card payments. Health takes no place at all.
"""

import collections
import functools
from collections.abc import Callable
from typing import Final

from gateway import payment_places, problems
from gateway.settings import Settings

HEALTH: Final = frozenset({"/healthz", "/readyz"})
"""Paths that are answered whatever else is going on."""
_REQUESTS_TAKEN: Final = problems.Refused(503, "too many requests at a time", (b"retry-after", b"1"))
_WEBHOOKS_TAKEN: Final = problems.Refused(503, "too many webhooks at a time", (b"retry-after", b"5"))
_MOST_PROVIDERS: Final = 1000
"""How many addresses of providers are remembered; Stripe sends from a dozen."""
_STREAMS_TAKEN: Final = problems.Refused(503, "too many streams at a time", (b"retry-after", b"5"))


class SlotPool:
    """The places of one kind, of which a single address may have a part only."""

    def __init__(self, most: int, refusal: problems.Refused, *, most_of_one: int | None = None) -> None:
        self._most = most
        self._most_of_one = most if most_of_one is None else most_of_one
        self._refusal = refusal
        self._taken = collections.Counter[str]()

    def take(self, address: str) -> None:
        """Take a place; raises Refused (503) when there is none, or none for this address."""
        if self._taken.total() >= self._most or self._taken[address] >= self._most_of_one:
            raise self._refusal
        self._taken[address] += 1

    def free(self, address: str) -> None:
        """Give a place back."""
        self._taken[address] -= 1
        if not self._taken[address]:
            del self._taken[address]


class WebhookPool(SlotPool):
    """The places of webhooks; a quarter is for addresses from which one with a good signature has come.

    So strangers at many addresses, who send bodies that never end, do not shut providers out.
    """

    def __init__(self, most: int, *, most_of_one: int) -> None:
        super().__init__(most, _WEBHOOKS_TAKEN, most_of_one=most_of_one)
        self._most_of_strangers = most - max(1, most // 4)
        self._providers: collections.OrderedDict[str, None] = collections.OrderedDict()

    def take(self, address: str) -> None:
        """Take a place; raises Refused (503) when there is none, none for this address or none for strangers."""
        if address not in self._providers:
            strangers = sum(count for each, count in self._taken.items() if each not in self._providers)
            if strangers >= self._most_of_strangers:
                raise self._refusal
        super().take(address)

    def trust(self, address: str) -> None:
        """Remember that a webhook with a good signature has come from an address."""
        self._providers[address] = None
        self._providers.move_to_end(address)
        while len(self._providers) > _MOST_PROVIDERS:
            self._providers.popitem(last=False)


class Slots:
    """The places of one process."""

    def __init__(self, settings: Settings) -> None:
        self._requests = SlotPool(settings.most_requests, _REQUESTS_TAKEN)
        self.webhooks = WebhookPool(settings.most_webhooks, most_of_one=settings.most_webhooks_per_address)
        self.streams = SlotPool(settings.most_streams, _STREAMS_TAKEN)
        self._new_payments = SlotPool(settings.payment_admission.most, _REQUESTS_TAKEN)
        self.payments = payment_places.PaymentPlaces(settings.payment_admission)

    def take(self) -> "Slot":
        """Return a place among the requests, to be freed; raises Refused (503) when there is none."""
        return Slot(self, self._requests)

    def take_payment(self) -> "Slot":
        """Return a place to begin a card payment at, to be freed; raises Refused (503) when there is none."""
        return Slot(self, self._new_payments)

    def take_webhook(self, address: str) -> "Slot":
        """Return a place among the webhooks, to be freed; raises Refused (503) when there is none for this address."""
        return Slot(self, self.webhooks, address)


class Slot:
    """The place of one request."""

    __slots__ = ("_address", "_free", "_slots")

    def __init__(self, slots: Slots, places: SlotPool, address: str = "") -> None:
        places.take(address)
        self._slots, self._address = slots, address
        self._free: Callable[[], None] = functools.partial(places.free, address)

    def become_stream(self) -> None:
        """Change the place for one among the streams; raises Refused (503) when there is none."""
        self._slots.streams.take(self._address)
        self._change(functools.partial(self._slots.streams.free, self._address))

    def become_payment(self, subject: str, key: str) -> payment_places.PaymentPlace:
        """Change the place for one among the card payments; raises Overloaded (503) when there is none."""
        place = self._slots.payments.take(subject, key)
        self._change(place.free)
        return place

    def _change(self, free: Callable[[], None]) -> None:
        self._free()
        self._free = free

    def free(self) -> None:
        """Give the place back."""
        self._free()
