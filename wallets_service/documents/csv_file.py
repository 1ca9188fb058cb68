"""A statement as comma-separated values (RFC 4180), in UTF-8 with a mark in front, by which Excel knows the encoding.

The first row has the names. Then come a row OPENING with the balance before the range, a row TRANSACTION for each line,
and a row CLOSING with the totals and the balance at the end: a file without it is not whole. Amounts are plain decimal
numbers; every text is escaped.
"""

import csv
import datetime
import io
import zoneinfo
from collections.abc import Iterable, Sequence
from typing import Final

from kobklein import money
from wallets_service import documents
from wallets_service.documents import cells
from wallets_service.models import Transaction
from wallets_service.repository.histories import Head
from wallets_service.statements import Period

_MARK: Final = "\ufeff"
COLUMNS: Final = (
    *("record", "recorded_time", "effective_time", "time_zone", "transaction_id", "type", "counterparty"),
    *("reference", "description", "payment_id", "currency", "credit_amount", "debit_amount", "balance"),
)


class CsvFile:
    """Writes the rows."""

    media_type = "text/csv; charset=utf-8; header=present"
    disposition = "attachment"
    extension = "csv"

    def __init__(self, account: Head, period: Period, zone: zoneinfo.ZoneInfo) -> None:
        self._account = account
        self._period = period
        self._zone = zone

    def head(self) -> str:
        """Return the mark, the names and the opening row."""
        opening = self._summary("OPENING", self._period.from_time, ("", ""), self._period.opening_balance)
        return _MARK + _rows([COLUMNS, opening])

    def lines(self, transactions: Sequence[Transaction]) -> str:
        """Return a row for each transaction."""
        return _rows(map(self._line, transactions))

    def tail(self) -> str:
        """Return the closing row."""
        period = self._period
        totals = self._amount(period.credit_amount), self._amount(period.debit_amount)
        return _rows([self._summary("CLOSING", period.before_time, totals, period.closing_balance)])

    def _line(self, line: Transaction) -> list[str]:
        amount = self._amount(line.amount)
        return [
            "TRANSACTION",
            self._time(line.created_time),
            self._time(line.effective_time),
            self._zone.key,
            str(line.id),
            line.type,
            cells.escape(line.counterparty),
            cells.escape(line.reference),
            cells.escape(line.description),
            str(line.payment_id or ""),
            line.currency,
            amount if line.direction == "CREDIT" else "",
            amount if line.direction == "DEBIT" else "",
            self._amount(line.balance_after),
        ]

    def _summary(self, record: str, time: datetime.datetime, totals: tuple[str, str], balance: int) -> list[str]:
        at = self._time(time)
        nothing = [""] * 6
        return [record, at, at, self._zone.key, *nothing, self._account.currency, *totals, self._amount(balance)]

    def _time(self, time: datetime.datetime) -> str:
        return documents.local(time, self._zone).isoformat()

    def _amount(self, amount: int) -> str:
        return money.render(amount, self._account.currency)


def _rows(rows: Iterable[Sequence[str]]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue()
