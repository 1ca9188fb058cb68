"""Payment providers, each behind the same small protocol.

A refused card is a result, never an exception. What a provider did is known (an `Intent`, or `Refused`) or it is not
(`Unknown` is raised); nothing in between.
"""

import dataclasses
import datetime
import uuid
from typing import Protocol

from payments_service.states import EventMove, IntentStatus


@dataclasses.dataclass(frozen=True, slots=True)
class NextAction:
    """What the payer has to do."""

    type: str
    redirect_url: str = ""
    client_secret: str = dataclasses.field(default="", repr=False)


@dataclasses.dataclass(frozen=True, slots=True)
class Decline:
    """Why a card was refused: the most exact code there is, and words for the payer."""

    code: str
    message: str


@dataclasses.dataclass(frozen=True, slots=True)
class Intent:
    """A charge as the provider holds it; amounts are in minor units of ISO 4217."""

    id: str
    status: IntentStatus
    amount: int
    currency: str
    received_amount: int = 0
    capturable_amount: int = 0
    next_action: NextAction | None = None
    decline: Decline | None = None
    payment_id: uuid.UUID | None = None
    """The payment that asked for it; None for a charge that is not ours."""


@dataclasses.dataclass(frozen=True, slots=True)
class Refused:
    """The provider did not take the request at all: it holds nothing, and never will."""

    code: str
    message: str
    field: str = ""
    """The field of the caller's request that is wrong, in proto names; empty when it is none of them."""


Outcome = Intent | Refused


class Unknown(Exception):
    """The provider may or may not have done it. The message says why, for the log."""


@dataclasses.dataclass(frozen=True, slots=True)
class Charge:
    """What a payment asks of its provider; the same in every repetition."""

    payment_id: uuid.UUID
    user_id: str
    reference: str
    amount: int
    currency: str
    payment_method_id: str = dataclasses.field(repr=False)
    key: str
    """Makes repetitions of the request one; a request that the provider did not take has one of its own."""
    asked_time: datetime.datetime
    """When the provider was first asked."""


@dataclasses.dataclass(frozen=True, slots=True)
class Event:
    """A webhook whose signature holds."""

    id: str
    type: str
    object_id: str
    created_time: datetime.datetime
    move: EventMove
    own: bool = True
    """Whether it is about our account at the provider, and not about one that is connected to it."""


class Provider(Protocol):
    """Takes money from payers. Every method that talks to the provider raises Unknown, and nothing else."""

    def check(self, amount: int, currency: str) -> None:
        """Raise InvalidArgument that names the amount or the currency unless the provider can take them."""

    async def authorise(self, charge: Charge) -> Outcome:
        """Charge the payer. Repeating it within the life of the provider's keys gives the first outcome again."""

    async def confirm(self, intent_id: str) -> Outcome:
        """Go on with an intent that waits for us."""

    async def fetch(self, intent_id: str) -> Outcome:
        """Return an intent as it is now."""

    async def find(self, payment_id: uuid.UUID, *, since: datetime.datetime) -> Intent | None:
        """Return the intent that a payment made after `since`, if there is one."""

    async def cancel(self, intent_id: str) -> Outcome:
        """Close an intent for good; one that cannot be closed is returned as it is."""

    def event(self, payload: bytes, signature: str) -> Event:
        """Return the event in a webhook's body; raises InvalidSignature, and InvalidArgument for a senseless body."""

    def intent(self, payload: bytes) -> Intent:
        """Return the intent that a stored event tells of, as it was then; raises ValueError for one we cannot read."""
