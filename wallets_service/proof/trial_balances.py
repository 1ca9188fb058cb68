"""The trial balance: what went out of, came into and stands on every kind of account, as of an instant."""

import dataclasses
import datetime
import itertools
import time
from collections.abc import Iterable
from typing import Final

from wallets_service import instants
from wallets_service.instants import Basis
from wallets_service.proof import snapshots

_LINES: Final = """
    WITH legs AS (
        SELECT account_id, sum(debit_amount) AS debit_amount, sum(credit_amount) AS credit_amount
        FROM (
            SELECT debit_account_id AS account_id, sum(amount) AS debit_amount, 0 AS credit_amount
            FROM transfers
            WHERE {time} <= %(time)s AND (%(currency)s = '' OR currency = %(currency)s)
            GROUP BY debit_account_id
            UNION ALL
            SELECT credit_account_id, 0, sum(amount)
            FROM transfers
            WHERE {time} <= %(time)s AND (%(currency)s = '' OR currency = %(currency)s)
            GROUP BY credit_account_id
        ) leg
        GROUP BY account_id
    )
    SELECT a.currency, split_part(a.address, '/', 1) AS kind, count(*) AS account_count,
           sum(l.debit_amount) AS debit_amount, sum(l.credit_amount) AS credit_amount
    FROM legs l
    JOIN accounts a ON a.id = l.account_id
    GROUP BY 1, 2
    ORDER BY 1, 2
"""


_TIMES: Final = {Basis.RECORDED: "created_time", Basis.EFFECTIVE: "coalesce(effective_time, created_time)"}


@dataclasses.dataclass(frozen=True, slots=True)
class Line:
    """The totals of one kind of account in one currency, of the accounts that had a transfer by then."""

    currency: str
    kind: str
    """Empty for all kinds together."""
    account_count: int
    debit_amount: int
    credit_amount: int

    @property
    def balance(self) -> int:
        """Credits less debits."""
        return self.credit_amount - self.debit_amount


@dataclasses.dataclass(frozen=True, slots=True)
class TrialBalance:
    """The totals of the ledger at an instant."""

    time: datetime.datetime
    basis: Basis
    lines: list[Line]
    totals: list[Line]
    """One per currency."""


def draw_up(
    url: str,
    clock: snapshots.Clock,
    *,
    at: datetime.datetime | None,
    basis: Basis,
    currency: str = "",
    patience: datetime.timedelta = instants.PATIENCE,
) -> TrialBalance:
    """Return the totals as of an instant, now if none is given; all transfers that can count by then are in.

    On the recorded basis the same instant gives the same answer for ever. Raises InvalidArgument for an instant that is
    not there yet, LedgerTooLarge when the clock runs out, and Unavailable when the database is out of reach or a
    transaction from before the instant does not end.
    """
    with snapshots.connected(url, clock) as snapshot:
        instant = _settled(snapshot, instants.Instant(at, field="time", patience=patience))
        statement = _LINES.format(time=_TIMES[basis])
        found = snapshot.rows(statement, {"time": instant, "currency": currency})
    lines = [
        Line(row["currency"], row["kind"], row["account_count"], int(row["debit_amount"]), int(row["credit_amount"]))
        for row in found
    ]
    return TrialBalance(instant, basis, lines, list(_totals(lines)))


def _settled(snapshot: snapshots.Snapshot, instant: instants.Instant) -> datetime.datetime:
    while not instant.final(**snapshot.row(instants.LOOK)):
        time.sleep(instants.LOOK_SECONDS)
    return instant.time


def _totals(lines: Iterable[Line]) -> Iterable[Line]:
    for currency, group in itertools.groupby(lines, key=lambda line: line.currency):
        of_currency = list(group)
        yield Line(
            currency,
            "",
            sum(line.account_count for line in of_currency),
            sum(line.debit_amount for line in of_currency),
            sum(line.credit_amount for line in of_currency),
        )
