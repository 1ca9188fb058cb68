"""What the ledger works with in memory: accounts, what is asked of them, and what is recorded of that.

Ids are UUIDs as canonical text: they come and go as text, and are only compared in between. Amounts are minor units.
"""

import dataclasses
import datetime
import operator
import uuid
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from kobklein import ids
from wallets_service import addresses, fees

Id = str
Key = tuple[str, str]
"""The address and currency that name an account to the outside."""

ACTIVE: Final = "ACTIVE"
FROZEN: Final = "FROZEN"
DEBIT_FROZEN: Final = "DEBIT_FROZEN"
CREDIT_FROZEN: Final = "CREDIT_FROZEN"
CLOSED: Final = "CLOSED"
PENDING: Final = "PENDING"
POSTED: Final = "POSTED"
VOIDED: Final = "VOIDED"
EXPIRED: Final = "EXPIRED"
TRANSFER: Final = "TRANSFER"
"""The type of what users send each other, which costs a fee: a transfer, or a hold that becomes one."""
CONVERSION: Final = "CONVERSION"
"""The type of what moves because a quote is accepted, and of nothing else."""


class Account(NamedTuple):
    """An account between two operations; a tuple, since each operation makes two and nothing is cheaper to make."""

    id: Id
    key: Key
    balance: int
    held_amount: int
    overdraft_limit: int | None
    status: str
    version: int
    transfer_limit: int | None = None
    day_limit: int | None = None
    month_limit: int | None = None
    spent_date: datetime.date | None = None
    """The day, in the platform's time zone, that `day_spent` and `month_spent` are of."""
    day_spent: int = 0
    month_spent: int = 0


BY_ID: Final = operator.attrgetter("id")
"""Sorts accounts so that neighbours lie together in the index that finds them."""


class Limits(NamedTuple):
    """How much may leave an account in one transfer, a day and a month; None limits nothing."""

    transfer: int | None
    day: int | None
    month: int | None


NO_LIMITS: Final = Limits(None, None, None)


@dataclasses.dataclass(slots=True)  # Frozen, each would cost four times as much to make. Nothing changes one.
class Transfer:
    """A transfer as its maker asks for it; its equality decides whether a repeated id is a replay."""

    id: Id
    debit_account: str
    credit_account: str
    amount: int
    currency: str
    type: str
    payment_id: Id | None = None
    reference: str = ""
    description: str = ""
    metadata: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    hold_id: Id | None = None
    reverses_id: Id | None = None
    effective_time: datetime.datetime | None = None
    """When it counts, if that was before it is recorded."""
    linked: bool = dataclasses.field(default=False, compare=False)
    """Whether it is posted only together with the next one."""
    releases_hold: bool = dataclasses.field(default=False, compare=False)
    """Whether what is left of its hold is given back with it; a replay must say what was done."""
    expires_time: datetime.datetime | None = dataclasses.field(default=None, compare=False)
    """Refused from this time on."""
    payee_may_be_new: bool = dataclasses.field(default=True, compare=False)
    """Whether it is posted even if its payee has no account in any currency yet."""

    @property
    def debit_key(self) -> Key:
        """The paying account."""
        return self.debit_account, self.currency

    @property
    def credit_key(self) -> Key:
        """The receiving account."""
        return self.credit_account, self.currency


@dataclasses.dataclass(slots=True)  # Not frozen, for the same reason.
class Posting:
    """A transfer as it is recorded: with what it left on both sides."""

    transfer: Transfer
    debit_account_id: Id
    credit_account_id: Id
    debit_balance_after: int
    credit_balance_after: int
    debit_version: int
    credit_version: int
    created_time: datetime.datetime | None
    """None if it was only tried."""
    group_id: Id | None = None
    """The first of the transfers that it was posted together with."""


@dataclasses.dataclass(frozen=True, slots=True)
class NewHold:
    """A hold as its maker asks for it; its equality decides whether a repeated id is a replay."""

    id: Id
    debit_account: str
    credit_account: str
    amount: int
    currency: str
    type: str
    lifetime: datetime.timedelta
    payment_id: Id | None = None
    reference: str = ""
    description: str = ""
    metadata: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    fee_amount: int = 0
    """What its fee's hold reserves, which is made together with it; 0 when there is none."""
    fee_terms: fees.Terms | None = None
    """What of that is due for what is posted; None when there is no fee."""
    fee_of: Id | None = None
    """The hold that it is the fee of, which reserves the fee beside it."""
    linked: bool = dataclasses.field(default=False, compare=False)
    """Whether it is made only together with the next one."""
    payee_may_be_new: bool = dataclasses.field(default=True, compare=False)
    """Whether it is made even if its payee has no account in any currency yet."""

    @property
    def debit_key(self) -> Key:
        """The paying account."""
        return self.debit_account, self.currency

    @property
    def credit_key(self) -> Key:
        """The receiving account."""
        return self.credit_account, self.currency

    @property
    def tied(self) -> bool:
        """Whether it has a fee or is one: the two change together only."""
        return self.fee_amount > 0 or self.fee_of is not None

    @property
    def fee_hold_id(self) -> Id:
        """The id of its fee's hold, if it has one."""
        return fee_hold_id(self.id)

    def part(self, id_: Id, amount: int, *, releases_rest: bool) -> Transfer:
        """Return the transfer that takes so much of it, and says of it what the hold does."""
        return Transfer(
            id_,
            self.debit_account,
            self.credit_account,
            amount,
            self.currency,
            self.type,
            self.payment_id,
            self.reference,
            self.description,
            self.metadata,
            hold_id=self.id,
            releases_hold=releases_rest,
        )


@dataclasses.dataclass(frozen=True, slots=True)
class Hold:
    """A hold as it is recorded."""

    made: NewHold
    debit_account_id: Id
    credit_account_id: Id
    posted_amount: int
    status: str
    created_time: datetime.datetime
    updated_time: datetime.datetime

    @property
    def remaining_amount(self) -> int:
        """How much is still held."""
        return self.made.amount - self.posted_amount if self.status == PENDING else 0

    @property
    def expires_time(self) -> datetime.datetime:
        """When what remains goes back by itself."""
        return self.created_time + self.made.lifetime


@dataclasses.dataclass(frozen=True, slots=True)
class Release:
    """Asks to give back what a hold still holds: because its payee says so, or because its time is over."""

    hold_id: Id
    debit_key: Key
    credit_key: Key
    expiry: bool = False
    """Whether only an expired hold is given back; one that is not stays as it is."""
    linked: bool = False
    """Whether it is given back only together with what the next operation does."""


@dataclasses.dataclass(frozen=True, slots=True)
class FeeSettlement:
    """Lets the hold of a fee follow the hold that it is the fee of.

    It takes what is due for what is posted of the other one, and gives back the rest once that one has ended. Done
    again, it finds nothing left to do.
    """

    id: Id
    """That of the transfer which takes the fee, if any is due."""
    hold_id: Id
    """The hold of the fee."""
    fee_of: Id
    debit_key: Key
    credit_key: Key
    linked: bool = False


Operation = Transfer | NewHold | Release | FeeSettlement


def fee_hold_id(hold_id: Id) -> Id:
    """Return the id of the hold of a hold's fee, whether it has one or not."""
    return str(ids.derived(uuid.UUID(hold_id), "fee"))


def account_id(address: str, currency: str) -> uuid.UUID:
    """Return the id of an account, which follows from its name.

    Transfers name accounts by their ids, and are sealed: so an account that was given another name is found.
    """
    return ids.named(f"{address}/{currency}")


def opened(key: Key) -> Account:
    """Return a new account with the floor of its kind of address."""
    return Account(str(account_id(*key)), key, 0, 0, addresses.default_overdraft_limit(key[0]), ACTIVE, 0)
