"""A statement as a page to print or to read on a phone: one HTML file that needs nothing else, and holds no script."""

import datetime
import html
import zoneinfo
from collections.abc import Sequence
from typing import Final

from wallets_service import documents
from wallets_service.documents import wording
from wallets_service.instants import Basis
from wallets_service.models import Transaction
from wallets_service.repository.histories import Head
from wallets_service.statements import Period

_STYLE: Final = """
@page { size: A4; margin: 15mm 12mm }
body { font: 10pt/1.4 system-ui, sans-serif; color: #111; margin: 2em auto; max-width: 60em; padding: 0 1em }
h1 { font-size: 16pt; margin: 0 0 .4em }
dl { display: grid; grid-template-columns: max-content auto; gap: .1em 1.5em; margin: 0 0 1.5em }
dt { color: #555 }
dd { margin: 0; overflow-wrap: anywhere; font-variant-numeric: tabular-nums }
table { border-collapse: collapse; width: 100%; font-size: 9pt }
thead { display: table-header-group }
tfoot { display: table-row-group }
tr { break-inside: avoid }
th, td { text-align: left; vertical-align: top; padding: .25em .5em; border-bottom: 1px solid #ccc }
thead th { border-bottom: 2px solid #111; vertical-align: bottom }
thead .running th { border: 0; font-weight: normal; color: #555; padding-left: 0 }
td { overflow-wrap: anywhere }
time, .amount { white-space: nowrap; font-variant-numeric: tabular-nums }
.amount { text-align: right }
.total td { font-weight: bold; border-top: 2px solid #111 }
small { color: #555 }
@media print { body { margin: 0; max-width: none; padding: 0 } }
@media screen and (max-width: 40em) {
  thead { display: none }
  tr { display: grid; grid-template-columns: 1fr auto; padding: .5em 0; border-bottom: 1px solid #ccc }
  .total { border-top: 2px solid #111 }
  td, .total td { display: block; border: 0; padding: .1em 0; grid-column: 1 }
  td.amount { grid-column: 1 / 3 }
  td.amount:empty { display: none }
  td.amount::before { content: attr(data-name); float: left; font-weight: normal; color: #555 }
}
"""
_BASES: Final = {
    Basis.RECORDED: "Transactions by when they were recorded",
    Basis.EFFECTIVE: "Transactions by when they count",
}


class HtmlPage:
    """Writes the page; the head of its table, which names the account and the range, stands on each printed sheet."""

    media_type = "text/html; charset=utf-8"
    disposition = "inline"
    extension = "html"

    def __init__(self, account: Head, period: Period, zone: zoneinfo.ZoneInfo) -> None:
        self._account = account
        self._period = period
        self._zone = zone
        self._ends = wording.ends(self._local(period.from_time), self._local(period.before_time))
        self._columns = [f"{name} ({account.currency})" for name in ("Money in", "Money out", "Balance")]

    def head(self) -> str:
        """Return the page up to the opening balance."""
        period, name = self._period, html.escape(self._name())
        first, last = (wording.date(end, "%B") for end in self._ends)
        range_ = f"{first} to {last}"
        title = f"Statement of {name} in {self._account.currency}"
        facts = {
            "Wallet" if self._account.user_id else "Account": name,
            "Period": f"From {range_}",
            "Basis": _BASES[period.basis],
            "Time zone": html.escape(self._zone.key),
            "Opening balance": self._money(period.opening_balance),
            "Money in": self._money(period.credit_amount),
            "Money out": self._money(period.debit_amount),
            "Closing balance": self._money(period.closing_balance),
        }
        columns = "".join(f'<th class="amount">{name}</th>' for name in self._columns)
        return (
            f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{title}</title>\n'
            f"<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n<dl>\n"
            + "".join(f"<dt>{name}</dt><dd>{value}</dd>\n" for name, value in facts.items())
            + f'</dl>\n<table>\n<thead>\n<tr class="running"><th colspan="5">{title}, from {range_}</th></tr>\n'
            f"<tr><th>Time</th><th>Transaction</th>{columns}</tr>\n</thead>\n<tbody>\n"
            + self._summary("Opening balance", self._ends[0], ("", ""), period.opening_balance)
        )

    def lines(self, transactions: Sequence[Transaction]) -> str:
        """Return a row for each transaction."""
        return "".join(map(self._line, transactions))

    def tail(self) -> str:
        """Return the closing balance and the end of the page."""
        period = self._period
        totals = self._amount(period.credit_amount), self._amount(period.debit_amount)
        closing = self._summary("Closing balance", self._ends[1], totals, period.closing_balance)
        return f"{closing}</tbody>\n</table>\n</body>\n</html>\n"

    def _line(self, line: Transaction) -> str:
        amount = self._amount(line.amount)
        credit, debit = (amount, "") if line.direction == "CREDIT" else ("", amount)
        backdated = line.effective_time < line.created_time
        times = _time(self._local(line.effective_time)) + (
            f"<br><small>recorded {_time(self._local(line.created_time))}</small>" if backdated else ""
        )
        title = wording.title(line) if self._account.user_id else f"{line.type.capitalize()}, {line.counterparty}"
        what = "<br>".join(html.escape(text) for text in (title, *wording.notes(line)))
        return self._row(times, f"{what}<br><small>Transaction {line.id}</small>", credit, debit, line.balance_after)

    def _summary(self, name: str, when: datetime.date, totals: tuple[str, str], balance: int) -> str:
        return self._row(_time(when), name, *totals, balance, kind=' class="total"')

    def _row(self, times: str, what: str, credit: str, debit: str, balance: int, *, kind: str = "") -> str:
        amounts = "".join(
            f'<td class="amount" data-name="{name}">{each}</td>'
            for name, each in zip(self._columns, (credit, debit, self._amount(balance)), strict=True)
        )
        return f"<tr{kind}><td>{times}</td><td>{what}</td>{amounts}</tr>\n"

    def _name(self) -> str:
        """Return whose statement it is: the user, or what else has an account, by its address."""
        return self._account.user_id or self._account.address

    def _local(self, time: datetime.datetime) -> datetime.datetime:
        return documents.local(time, self._zone)

    def _amount(self, amount: int) -> str:
        return wording.amount(amount, self._account.currency)

    def _money(self, amount: int) -> str:
        return f"{self._amount(amount)} {self._account.currency}"


def _time(when: datetime.date) -> str:
    """Return a day or a time to read; behind it, for programs, stands all of it, with its offset."""
    return f'<time datetime="{when.isoformat()}">{wording.date(when)}</time>'
