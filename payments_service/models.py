"""The tables of this service, and a payment as the code holds it."""

import dataclasses
import datetime
import enum
import uuid
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from payments_service.states import EventState, Method, Status, Step, Trigger

metadata = sa.MetaData()

_TIME: Final = sa.DateTime(timezone=True)


def _words(words: type[enum.StrEnum]) -> sa.Enum:
    return sa.Enum(words, native_enum=False, create_constraint=False, length=None)


payments = sa.Table(
    "payments",
    metadata,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("user_id", sa.Text, nullable=False),
    sa.Column("amount", sa.BigInteger, nullable=False),
    sa.Column("currency", sa.Text, nullable=False),
    sa.Column("method", _words(Method), nullable=False),
    sa.Column("status", _words(Status), nullable=False),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("reference", sa.Text, nullable=False),
    sa.Column("stripe_payment_intent_id", sa.Text),
    sa.Column("metadata", postgresql.JSONB, nullable=False),
    sa.Column("received_amount", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("refunded_amount", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("capturable_amount", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("next_action", postgresql.JSONB(none_as_null=True)),
    sa.Column("failure_code", sa.Text, nullable=False, server_default=""),
    sa.Column("failure_message", sa.Text, nullable=False, server_default=""),
    sa.Column("failure_field", sa.Text, nullable=False, server_default=""),
    sa.Column("payment_method_id", sa.Text, nullable=False, server_default=""),
    sa.Column("refused_charges", sa.Integer, nullable=False, server_default="0"),
    sa.Column("step", _words(Step)),
    sa.Column("due_time", _TIME),
    sa.Column("due_event", sa.Text, nullable=False, server_default=""),
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("leased_until", _TIME),
    sa.Column("fence", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("unknown_fence", sa.BigInteger),
    sa.Column("authorised_time", _TIME),
    sa.Column("completed_time", _TIME),
    sa.Column("created_time", _TIME, nullable=False, server_default=sa.func.clock_timestamp()),
    sa.Column("updated_time", _TIME, nullable=False, server_default=sa.func.clock_timestamp()),
    sa.Column("deleted_time", _TIME),
    sa.Column("version", sa.Integer, nullable=False, server_default="1"),
)

payment_changes = sa.Table(
    "payment_changes",
    metadata,
    sa.Column("sequence", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("payment_id", sa.Uuid, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("what", sa.Text, nullable=False),
    sa.Column("before", _words(Status)),
    sa.Column("after", _words(Status), nullable=False),
    sa.Column("trigger", _words(Trigger)),
    sa.Column("event_id", sa.Text, nullable=False, server_default=""),
    sa.Column("time", _TIME, nullable=False, server_default=sa.func.clock_timestamp()),
)

inbox_events = sa.Table(
    "inbox_events",
    metadata,
    sa.Column("sequence", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("provider", sa.Text, nullable=False),
    sa.Column("event_id", sa.Text, nullable=False),
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("object_id", sa.Text, nullable=False),
    sa.Column("payload", sa.LargeBinary, nullable=False),
    sa.Column("event_time", _TIME, nullable=False),
    sa.Column("received_time", _TIME, nullable=False, server_default=sa.func.clock_timestamp()),
    sa.Column("due_time", _TIME, nullable=False, server_default=sa.func.clock_timestamp()),
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("applied_time", _TIME),
    sa.Column("state", _words(EventState), nullable=False, server_default=EventState.RECEIVED),
    sa.Column("outcome", sa.Text, nullable=False, server_default=""),
    sa.Column("payment_id", sa.Uuid),
)


@dataclasses.dataclass(frozen=True, slots=True)
class Payment:
    """A row of `payments`; the fields of callers first, then those of the money path."""

    id: uuid.UUID
    user_id: str
    amount: int
    currency: str
    method: Method
    status: Status
    description: str
    reference: str
    stripe_payment_intent_id: str | None
    metadata: dict[str, Any]
    received_amount: int
    """What the provider has collected; settled in one transfer, and never more than `amount`."""
    refunded_amount: int
    capturable_amount: int
    next_action: dict[str, str] | None
    failure_code: str
    failure_message: str
    failure_field: str
    """The field of the request that the provider refused, in proto names; empty when it refused the payment itself."""
    payment_method_id: str
    refused_charges: int
    """How often the provider did not take the request to charge; each time the payment was PENDING again."""
    step: Step | None
    due_time: datetime.datetime | None
    due_event: str
    """The provider's event that made the step due; empty when none did."""
    attempts: int
    """How often the present step has been claimed."""
    leased_until: datetime.datetime | None
    fence: int
    """Number of the latest claim; a write that carries an older one changes nothing."""
    unknown_fence: int | None
    """The latest claim that ended without anybody knowing what the provider did; None if every one was answered."""
    authorised_time: datetime.datetime | None
    """When the provider was first asked to charge; its idempotency key is as old."""
    completed_time: datetime.datetime | None
    created_time: datetime.datetime
    updated_time: datetime.datetime
    deleted_time: datetime.datetime | None
    version: int

    @property
    def etag(self) -> str:
        """The tag of this version."""
        return str(self.version)

    @property
    def outcome_unknown(self) -> bool:
        """Whether the latest attempt of the step has ended, and nobody knows yet what the provider did."""
        return self.unknown_fence == self.fence


@dataclasses.dataclass(frozen=True, slots=True)
class RecordedChange:
    """A line of a payment's audit trail."""

    version: int
    actor: str
    what: str
    before: Status | None
    after: Status
    trigger: Trigger | None
    """None for a change of before triggers were recorded."""
    event_id: str
    time: datetime.datetime


def payment(row: sa.Row[Any]) -> Payment:
    """Return a row of `payments` as a payment."""
    return Payment(**row._mapping)
