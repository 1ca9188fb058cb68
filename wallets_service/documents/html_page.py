"""A statement as a page to print: one HTML file that needs nothing else, and holds no script."""

import datetime
import html
import zoneinfo
from collections.abc import Sequence
from typing import Final

from kobklein import money
from wallets_service import documents
from wallets_service.instants import Basis
from wallets_service.models import Transaction
from wallets_service.repository.histories import Head
from wallets_service.statements import Period

_STYLE: Final = """
@page { size: A4; margin: 15mm 12mm }
body { font: 10pt/1.4 system-ui, sans-serif; color: #111; margin: 2em auto; max-width: 60em; padding: 0 1em }
h1 { font-size: 16pt; margin: 0 0 .2em }
dl { display: grid; grid-template-columns: max-content auto; gap: .1em 1.5em; margin: 0 0 1.5em }
dt { color: #555 }
dd { margin: 0; overflow-wrap: anywhere }
table { border-collapse: collapse; width: 100%; font-size: 9pt }
thead { display: table-header-group }
tfoot { display: table-row-group }
tr { break-inside: avoid }
th, td { text-align: left; vertical-align: top; padding: .25em .5em; border-bottom: 1px solid #ccc }
thead th { border-bottom: 2px solid #111 }
thead .running th { border: 0; font-weight: normal; color: #555; padding-left: 0 }
td { overflow-wrap: anywhere }
.amount { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums }
.total td { font-weight: bold; border-top: 2px solid #111 }
small { color: #555 }
@media print { body { margin: 0; max-width: none; padding: 0 } }
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

    def head(self) -> str:
        """Return the page up to the opening balance."""
        period, address = self._period, html.escape(self._account.address)
        range_ = f"{self._time(period.from_time)} to before {self._time(period.before_time)}"
        title = f"Statement of {address} in {self._account.currency}"
        facts = {
            "Account": f"{address} <small>{self._account.id}</small>",
            "Range": range_,
            "Basis": _BASES[period.basis],
            "Time zone": html.escape(self._zone.key),
            "Opening balance": self._amount(period.opening_balance),
            "Came in": self._amount(period.credit_amount),
            "Left": self._amount(period.debit_amount),
            "Closing balance": self._amount(period.closing_balance),
        }
        return (
            f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{title}</title>\n'
            f"<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n<dl>\n"
            + "".join(f"<dt>{name}</dt><dd>{value}</dd>\n" for name, value in facts.items())
            + f'</dl>\n<table>\n<thead>\n<tr class="running"><th colspan="5">{title}: {range_}</th></tr>\n'
            '<tr><th>Time</th><th>Transaction</th><th class="amount">In</th><th class="amount">Out</th>'
            '<th class="amount">Balance</th></tr>\n</thead>\n<tbody>\n'
            + self._summary("Opening balance", period.from_time, ("", ""), period.opening_balance)
        )

    def lines(self, transactions: Sequence[Transaction]) -> str:
        """Return a row for each transaction."""
        return "".join(map(self._line, transactions))

    def tail(self) -> str:
        """Return the closing balance and the end of the page."""
        period = self._period
        totals = self._amount(period.credit_amount), self._amount(period.debit_amount)
        closing = self._summary("Closing balance", period.before_time, totals, period.closing_balance)
        return f"{closing}</tbody>\n</table>\n</body>\n</html>\n"

    def _line(self, line: Transaction) -> str:
        amount = self._amount(line.amount)
        credit, debit = (amount, "") if line.direction == "CREDIT" else ("", amount)
        backdated = line.effective_time < line.created_time
        times = self._time(line.effective_time) + (
            f"<br><small>recorded {self._time(line.created_time)}</small>" if backdated else ""
        )
        texts = [f"{line.type.capitalize()}, {line.counterparty}", line.description, line.reference]
        what = "<br>".join(html.escape(text) for text in texts if text)
        return self._row(f"{times}", f"{what}<br><small>{line.id}</small>", credit, debit, line.balance_after)

    def _summary(self, name: str, time: datetime.datetime, totals: tuple[str, str], balance: int) -> str:
        return self._row(self._time(time), name, *totals, balance, kind=' class="total"')

    def _row(self, times: str, what: str, credit: str, debit: str, balance: int, *, kind: str = "") -> str:
        amounts = "".join(f'<td class="amount">{each}</td>' for each in (credit, debit, self._amount(balance)))
        return f"<tr{kind}><td>{times}</td><td>{what}</td>{amounts}</tr>\n"

    def _time(self, time: datetime.datetime) -> str:
        return documents.local(time, self._zone).isoformat(sep=" ", timespec="seconds")

    def _amount(self, amount: int) -> str:
        return money.render(amount, self._account.currency)
