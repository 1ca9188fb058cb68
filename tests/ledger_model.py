"""The ledger in its simplest form: one operation at a time on plain dictionaries, as the guide to the ledger says it.

It shares no code with the service but the values it is asked with, so that both cannot be wrong in the same way.
"""

import dataclasses
from collections.abc import Sequence
from typing import Final, NamedTuple

from wallets_service.ledger import entries

POSTED: Final = "ok"


@dataclasses.dataclass
class Wallet:
    """An account of the model."""

    balance: int = 0
    held: int = 0
    floor: int | None = 0
    status: str = "ACTIVE"
    transfers: int = 0
    limits: tuple[int | None, int | None, int | None] = (None, None, None)
    """In one transfer, in a day, and in a month."""
    spent: int = 0
    """Of today."""
    spent_before: int = 0
    """Of the days of the month before today."""


@dataclasses.dataclass
class Reservation:
    """A hold of the model."""

    asked: entries.NewHold
    posted: int = 0
    status: str = "PENDING"

    @property
    def left(self) -> int:
        return self.asked.amount - self.posted if self.status == "PENDING" else 0

    @property
    def tied(self) -> bool:
        """Whether it has a fee, or is one."""
        return self.asked.fee_amount > 0 or self.asked.fee_of is not None

    @property
    def over(self) -> bool:
        return self.status == "PENDING" and not self.asked.lifetime


class Move(NamedTuple):
    """A transfer of the model, the name of the group that it was posted with, if any, and what it left."""

    asked: entries.Transfer
    group: str
    debit_balance: int
    debit_version: int
    credit_balance: int
    credit_version: int


@dataclasses.dataclass
class _Books:
    """Everything that a refused group leaves as it was."""

    wallets: dict[str, Wallet] = dataclasses.field(default_factory=dict)
    moved: dict[str, Move] = dataclasses.field(default_factory=dict)
    holds: dict[str, Reservation] = dataclasses.field(default_factory=dict)
    endings: set[str] = dataclasses.field(default_factory=set)
    """The transfers with which holds ended."""
    opened: set[str] = dataclasses.field(default_factory=set)
    """The addresses that have an account, in whatever currency."""

    def copy(self) -> "_Books":
        return _Books(
            {address: dataclasses.replace(each) for address, each in self.wallets.items()},
            dict(self.moved),
            {id_: dataclasses.replace(each) for id_, each in self.holds.items()},
            set(self.endings),
            set(self.opened),
        )


class Model:
    """Answers each batch with one reason for each operation; `ok` is what is posted, held or given back."""

    def __init__(self) -> None:
        self._books = _Books()
        self._settling = False
        """Whether the group that is done now settles a fee."""

    @property
    def moved(self) -> dict[str, Move]:
        return self._books.moved

    @property
    def holds(self) -> dict[str, Reservation]:
        return self._books.holds

    def open(self, *addresses: str) -> None:
        """Note that these have an account."""
        self._books.opened.update(addresses)

    def wallet(self, address: str) -> Wallet:
        floor = None if address == "fx/liquidity" or address.startswith("provider/") else 0
        return self._books.wallets.setdefault(address, Wallet(floor=floor))

    def post(self, batch: Sequence[entries.Operation]) -> list[str]:
        """Do a batch: first what has expired on its accounts goes back, then one operation or group after the other."""
        touched = {address for each in batch for address in (each.debit_key[0], each.credit_key[0])}
        for hold in self.holds.values():
            if hold.over and hold.asked.debit_account in touched:
                self._end(hold, "EXPIRED")
        reasons: list[str] = []
        while len(reasons) < len(batch):
            rest = batch[len(reasons) :]
            end = next(number for number, each in enumerate(rest, 1) if not each.linked)
            reasons += self._group(rest[:end])
        return reasons

    def _group(self, group: Sequence[entries.Operation]) -> list[str]:
        before, name = self._books.copy(), _id(group[0]) if len(group) > 1 else ""
        self._settling = bool(name) and any(isinstance(each, entries.FeeSettlement) for each in group)
        for number, each in enumerate(group):
            reason = self._one(each, name)
            if reason == POSTED and name:
                reason = self._torn(group, group[: number + 1], before)
            if reason != POSTED:
                self._books = before
                others = ["LINKED_TRANSFER_REFUSED"] * (len(group) - 1)
                return [*others[:number], reason, *others[number:]]
        return [POSTED] * len(group)

    def _torn(self, group: Sequence[entries.Operation], done: Sequence[entries.Operation], before: _Books) -> str:
        """Tell if what is done of a group repeats another one in part, or leaves a fee that does not fit its hold."""
        recorded = [_id(each) for each in done if not isinstance(each, entries.NewHold) and _id(each) in self.moved]
        made = sum(isinstance(each, entries.NewHold) for each in done)
        new = len(self.moved) - len(before.moved) + len(self.holds) - len(before.holds)
        whole = len(recorded) == sum(each.group == _id(group[0]) for each in self.moved.values())
        if new not in (0, len(recorded) + made) or (len(done) == len(group) and not whole):
            return "HOLD_ID_REUSED" if isinstance(group[0], entries.NewHold) else "TRANSFER_ID_REUSED"
        changed = [hold for id_, hold in self.holds.items() if hold != before.holds.get(id_) and hold.tied]
        unfit = len(done) == len(group) and not all(map(self._fits, changed))
        return "HOLD_HAS_FEE" if unfit else POSTED

    def _fits(self, hold: Reservation) -> bool:
        """Tell if of the hold of a fee is posted what its hold says, to the minor unit, and its rest ends with it."""
        of = self.holds.get(hold.asked.fee_of or hold.asked.id)
        fee = next((each for each in self.holds.values() if of and each.asked.fee_of == of.asked.id), None)
        if of is None or fee is None:
            return False
        open_still = of.status == "PENDING" and fee.posted < fee.asked.amount
        return fee.posted == _due(of) and (fee.status == "PENDING") == open_still

    def _one(self, asked: entries.Operation, group: str) -> str:
        if isinstance(asked, entries.Transfer):
            return self._move(asked, group)
        if isinstance(asked, entries.FeeSettlement):
            return self._settle(asked, group)
        return self._hold(asked) if isinstance(asked, entries.NewHold) else self._void(asked)

    def _move(self, asked: entries.Transfer, group: str) -> str:
        if asked.id in self.moved:
            first, its_group, *_ = self.moved[asked.id]
            return POSTED if (first, its_group) == (asked, group) and self._ends_alike(asked) else "TRANSFER_ID_REUSED"
        reason = self._stopped(asked) or self._unreversible(asked) or self._untakeable(asked)
        if not reason and asked.hold_id is None:
            reason = self._unpayable(asked, limited=asked.reverses_id is None) or self._unknown(asked)
        if reason:
            return reason
        self.open(asked.debit_account, asked.credit_account)
        payer, payee = self.wallet(asked.debit_account), self.wallet(asked.credit_account)
        if asked.hold_id is not None:
            self._take(asked, self.holds[asked.hold_id], payer)
        elif asked.reverses_id is None:
            payer.spent += asked.amount
        payer.balance, payee.balance = payer.balance - asked.amount, payee.balance + asked.amount
        payer.transfers, payee.transfers = payer.transfers + 1, payee.transfers + 1
        self.moved[asked.id] = Move(asked, group, payer.balance, payer.transfers, payee.balance, payee.transfers)
        return POSTED

    def _take(self, asked: entries.Transfer, hold: Reservation, payer: Wallet) -> None:
        hold.posted += asked.amount
        payer.held -= asked.amount
        if not hold.left or asked.releases_hold:
            self._end(hold, "POSTED")
            self._books.endings.add(asked.id)

    def _ends_alike(self, asked: entries.Transfer) -> bool:
        """Tell if a repeated part says of the rest what was done with it; where nothing was left, it may say either."""
        if asked.hold_id is None:
            return True
        hold, ended = self.holds[asked.hold_id], asked.id in self._books.endings
        return ended == asked.releases_hold or (ended and hold.posted == hold.asked.amount)

    def _stopped(self, asked: entries.Transfer | entries.NewHold) -> str:
        if asked.debit_account == asked.credit_account:
            return "SAME_ACCOUNT"
        for address, other_way in ((asked.debit_account, "CREDIT_FROZEN"), (asked.credit_account, "DEBIT_FROZEN")):
            status = self.wallet(address).status
            if status not in ("ACTIVE", other_way):
                return "ACCOUNT_CLOSED" if status == "CLOSED" else "ACCOUNT_FROZEN"
        return ""

    def _unreversible(self, asked: entries.Transfer) -> str:
        if asked.reverses_id is None:
            return ""
        if asked.reverses_id not in self.moved:
            return "ORIGINAL_NOT_FOUND"
        original = self.moved[asked.reverses_id].asked
        turned = (original.credit_account, original.debit_account) == (asked.debit_account, asked.credit_account)
        if original.reverses_id is not None or not turned:
            return "NOT_REVERSIBLE"
        back = sum(each.asked.amount for each in self.moved.values() if each.asked.reverses_id == original.id)
        return "REVERSAL_EXCEEDED" if back + asked.amount > original.amount else ""

    def _untakeable(self, asked: entries.Transfer) -> str:
        if asked.hold_id is None:
            return ""
        hold = self.holds.get(asked.hold_id)
        if hold is None:
            return "HOLD_NOT_FOUND"
        if (hold.asked.debit_account, hold.asked.credit_account) != (asked.debit_account, asked.credit_account):
            return "HOLD_OF_OTHER_ACCOUNTS"
        if hold.status != "PENDING":
            return "HOLD_ENDED"
        if asked.amount > hold.left:
            return "HOLD_EXCEEDED"
        return "HOLD_HAS_FEE" if hold.tied and not self._settling else ""

    def _unpayable(self, asked: entries.Transfer | entries.NewHold, *, limited: bool) -> str:
        payer = self.wallet(asked.debit_account)
        if payer.floor is not None and payer.balance - payer.held - asked.amount < -payer.floor:
            return "INSUFFICIENT_FUNDS"
        spent = 0, payer.spent, payer.spent_before + payer.spent
        over = [
            limit is not None and used + asked.amount > limit for limit, used in zip(payer.limits, spent, strict=True)
        ]
        return "LIMIT_EXCEEDED" if limited and any(over) else ""

    def _unknown(self, asked: entries.Transfer | entries.NewHold) -> str:
        return "" if asked.payee_may_be_new or asked.credit_account in self._books.opened else "PAYEE_IS_NEW"

    def _hold(self, asked: entries.NewHold) -> str:
        if asked.id in self.holds:
            return POSTED if self.holds[asked.id].asked == asked else "HOLD_ID_REUSED"
        reason = self._stopped(asked) or self._unpayable(asked, limited=True) or self._unknown(asked)
        if reason:
            return reason
        self.open(asked.debit_account, asked.credit_account)
        payer = self.wallet(asked.debit_account)
        self.wallet(asked.credit_account)
        payer.held, payer.spent = payer.held + asked.amount, payer.spent + asked.amount
        self.holds[asked.id] = Reservation(asked)
        return POSTED

    def _void(self, asked: entries.Release) -> str:
        hold = self.holds.get(asked.hold_id)
        if hold is None:
            return "HOLD_NOT_FOUND"
        if hold.asked.debit_account != asked.debit_key[0]:
            return "HOLD_OF_OTHER_ACCOUNTS"
        if asked.expiry or hold.status == "VOIDED":
            return POSTED
        if hold.status != "PENDING":
            return "HOLD_ENDED"
        if hold.tied and not self._settling:
            return "HOLD_HAS_FEE"
        self._end(hold, "VOIDED")
        return POSTED

    def _settle(self, asked: entries.FeeSettlement, group: str) -> str:
        fee, of = self.holds.get(asked.hold_id), self.holds.get(asked.fee_of)
        if fee is None or of is None or fee.asked.fee_of != asked.fee_of:
            return "HOLD_NOT_FOUND"
        if asked.id in self.moved:
            first, its_group, *_ = self.moved[asked.id]
            return POSTED if (first.hold_id, its_group) == (asked.hold_id, group) else "TRANSFER_ID_REUSED"
        made, more, ended = fee.asked, _due(of) - fee.posted, of.status != "PENDING"
        if more < 0:
            return "HOLD_HAS_FEE"
        if more:
            sides = made.debit_account, made.credit_account
            part = entries.Transfer(asked.id, *sides, more, made.currency, made.type, reference=made.reference)
            return self._move(dataclasses.replace(part, hold_id=made.id, releases_hold=ended), group)
        if ended and fee.status == "PENDING":
            self._end(fee, of.status if fee.posted else "VOIDED")
        return POSTED

    def _end(self, hold: Reservation, status: str) -> None:
        """Give back what is left, to the money that is there and to the limits."""
        payer, left = self.wallet(hold.asked.debit_account), hold.left
        payer.held, payer.spent = payer.held - left, payer.spent - left
        hold.status = status


def _due(of: Reservation) -> int:
    """Return what one transfer of what is posted costs by the terms of a hold, rounded towards the payer."""
    terms = of.asked.fee_terms
    if terms is None or not of.posted:
        return 0
    fee = max(terms.fixed_amount + of.posted * terms.parts_per_million // 1_000_000, terms.floor_amount)
    return fee if terms.cap_amount is None or fee < terms.cap_amount else terms.cap_amount


def _id(operation: entries.Operation) -> str:
    return operation.hold_id if isinstance(operation, entries.Release) else operation.id
