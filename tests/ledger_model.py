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
    limits: tuple[int | None, int | None] = (None, None)
    """In one transfer, and in a day."""
    spent: int = 0


@dataclasses.dataclass
class Reservation:
    """A hold of the model."""

    asked: entries.NewHold
    left: int
    status: str = "PENDING"

    @property
    def over(self) -> bool:
        return self.status == "PENDING" and not self.asked.lifetime


class Move(NamedTuple):
    """A transfer of the model, the group that it was posted with, and what it left."""

    asked: entries.Transfer
    group: tuple[str, ...]
    debit_balance: int
    debit_version: int
    credit_balance: int
    credit_version: int


class Model:
    """Answers each batch with one reason for each operation; `ok` is what is posted, held or given back."""

    def __init__(self) -> None:
        self.wallets: dict[str, Wallet] = {}
        self.moved: dict[str, Move] = {}
        self.holds: dict[str, Reservation] = {}

    def wallet(self, address: str) -> Wallet:
        floor = None if address == "fx/liquidity" or address.startswith("provider/") else 0
        return self.wallets.setdefault(address, Wallet(floor=floor))

    def post(self, batch: Sequence[entries.Operation]) -> list[str]:
        """Do a batch: first what has expired on its accounts goes back, then one operation or group after the other."""
        touched = {address for each in batch for address in (each.debit_key[0], each.credit_key[0])}
        for hold in self.holds.values():
            if hold.over and hold.asked.debit_account in touched:
                self._give_back(hold, "EXPIRED")
        reasons: list[str] = []
        while len(reasons) < len(batch):
            rest = batch[len(reasons) :]
            end = next(number for number, each in enumerate(rest, 1) if not each.linked)
            reasons += self._group(rest[:end])
        return reasons

    def _group(self, group: Sequence[entries.Operation]) -> list[str]:
        before = self._copy()
        ids = tuple(each.id for each in group if isinstance(each, entries.Transfer))
        repeated: list[bool] = []
        for number, each in enumerate(group):
            repeated.append(isinstance(each, entries.Transfer) and each.id in self.moved)
            reason = self._one(each, ids)
            if reason == POSTED and any(repeated) != all(repeated):
                reason = "TRANSFER_ID_REUSED"
            if reason != POSTED:
                self.wallets, self.moved, self.holds = before
                others = ["LINKED_TRANSFER_REFUSED"] * (len(group) - 1)
                return [*others[:number], reason, *others[number:]]
        return [POSTED] * len(group)

    def _copy(self) -> tuple[dict[str, Wallet], dict[str, Move], dict[str, Reservation]]:
        return (
            {address: dataclasses.replace(each) for address, each in self.wallets.items()},
            dict(self.moved),
            {id_: dataclasses.replace(each) for id_, each in self.holds.items()},
        )

    def _one(self, asked: entries.Operation, group: tuple[str, ...]) -> str:
        if isinstance(asked, entries.Transfer):
            return self._move(asked, group)
        return self._hold(asked) if isinstance(asked, entries.NewHold) else self._void(asked)

    def _move(self, asked: entries.Transfer, group: tuple[str, ...]) -> str:
        if asked.id in self.moved:
            first, its_group, *_ = self.moved[asked.id]
            same_group = (its_group[0] if len(its_group) > 1 else "") == (group[0] if len(group) > 1 else "")
            return POSTED if first == asked and same_group else "TRANSFER_ID_REUSED"
        reason = self._stopped(asked) or self._unreversible(asked) or self._untakeable(asked)
        if not reason and asked.hold_id is None:
            reason = self._unpayable(asked, limited=asked.reverses_id is None)
        if reason:
            return reason
        payer, payee = self.wallet(asked.debit_account), self.wallet(asked.credit_account)
        if asked.hold_id is not None:
            hold = self.holds[asked.hold_id]
            hold.left -= asked.amount
            payer.held -= asked.amount
            if not hold.left or asked.releases_hold:
                self._give_back(hold, "POSTED")
        elif asked.reverses_id is None:
            payer.spent += asked.amount
        payer.balance, payee.balance = payer.balance - asked.amount, payee.balance + asked.amount
        payer.transfers, payee.transfers = payer.transfers + 1, payee.transfers + 1
        self.moved[asked.id] = Move(asked, group, payer.balance, payer.transfers, payee.balance, payee.transfers)
        return POSTED

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
        return "HOLD_EXCEEDED" if asked.amount > hold.left else ""

    def _unpayable(self, asked: entries.Transfer | entries.NewHold, *, limited: bool) -> str:
        payer = self.wallet(asked.debit_account)
        if payer.floor is not None and payer.balance - payer.held - asked.amount < -payer.floor:
            return "INSUFFICIENT_FUNDS"
        once, daily = payer.limits if limited else (None, None)
        over = (once is not None and asked.amount > once) or (daily is not None and payer.spent + asked.amount > daily)
        return "LIMIT_EXCEEDED" if over else ""

    def _hold(self, asked: entries.NewHold) -> str:
        if asked.id in self.holds:
            return POSTED if self.holds[asked.id].asked == asked else "HOLD_ID_REUSED"
        reason = self._stopped(asked) or self._unpayable(asked, limited=True)
        if reason:
            return reason
        payer = self.wallet(asked.debit_account)
        self.wallet(asked.credit_account)
        payer.held, payer.spent = payer.held + asked.amount, payer.spent + asked.amount
        self.holds[asked.id] = Reservation(asked, asked.amount)
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
        self._give_back(hold, "VOIDED")
        return POSTED

    def _give_back(self, hold: Reservation, status: str) -> None:
        payer = self.wallet(hold.asked.debit_account)
        payer.held, payer.spent = payer.held - hold.left, payer.spent - hold.left
        hold.left, hold.status = 0, status
