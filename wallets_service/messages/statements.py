"""The messages of statements."""

import datetime
import re
import zoneinfo
from collections.abc import Mapping, Sequence
from typing import Any, Final

from kobklein import errors, money
from kobklein.wallets.v1 import statements_pb2
from wallets_service import documents, models
from wallets_service import errors as wallets_errors
from wallets_service import statements as use_case
from wallets_service.documents import csv_file, html_page
from wallets_service.instants import Basis
from wallets_service.messages import common, wallets
from wallets_service.repository.histories import Head
from wallets_service.statements import Period, Position

_WEIGHT: Final = re.compile(r"q=([01](?:\.[0-9]{0,3})?)")
_TYPES: Final[dict[str, type[documents.Document]]] = {"text/csv": csv_file.CsvFile, "text/html": html_page.HtmlPage}
_WILD: Final = ("text/*", "*/*")
_SHOWN_CHARACTERS: Final = 100
"""How much of a header a refusal repeats."""
_FORMS: Final[dict[int, type[documents.Document]]] = {
    statements_pb2.STATEMENT_FORMAT_UNSPECIFIED: csv_file.CsvFile,
    statements_pb2.STATEMENT_FORMAT_CSV: csv_file.CsvFile,
    statements_pb2.STATEMENT_FORMAT_HTML: html_page.HtmlPage,
}


def range_(
    request: statements_pb2.GetStatementRequest | statements_pb2.ExportStatementRequest,
) -> tuple[datetime.datetime, datetime.datetime | None]:
    """Return the range that a request asks for; raises InvalidArgument when it ends before it begins."""
    from_time = common.boundary(request, "from_time")
    before_time = common.boundary(request, "before_time")
    assert from_time is not None  # noqa: S101  # it is a required field
    if before_time is not None and before_time < from_time:
        raise errors.InvalidArgument.of("before_time", "is before from_time")
    return from_time, before_time


def zone(name: str) -> zoneinfo.ZoneInfo:
    """Return a time zone by its name, which the contract has checked."""
    return zoneinfo.ZoneInfo(name or "UTC")


def form(number: "statements_pb2.StatementFormat.ValueType", accept: str) -> type[documents.Document]:
    """Return how a file is written: as the request says, else as an `Accept` header does, else as CSV.

    Of two forms that a header takes, one that it names goes first. Raises NotAcceptable if it takes neither.
    """
    if number or not accept.strip():
        return _FORMS[number]
    ranges = _ranges(accept)
    offered = [_quality(ranges, media_type, *_WILD) for media_type in _TYPES]
    if not any(offered):
        raise wallets_errors.NotAcceptable(offered=" or ".join(_TYPES), accept=accept[:_SHOWN_CHARACTERS])
    named = [_quality(ranges, media_type) for media_type in _TYPES]
    best = max(range(len(_TYPES)), key=lambda place: (bool(offered[place]), named[place], offered[place]))
    return _TYPES[list(_TYPES)[best]]


def _ranges(accept: str) -> dict[str, float]:
    """Return how much each media range of a header is wanted, from 0, which is not at all, to 1."""
    found: dict[str, float] = {}
    for media_range in accept.lower().split(","):
        name, *parameters = [part.strip() for part in media_range.split(";")]
        weights = [_WEIGHT.fullmatch(parameter) for parameter in parameters]
        found.setdefault(name, min((float(weight[1]) for weight in weights if weight), default=1.0))
    return found


def _quality(ranges: Mapping[str, float], *names: str) -> float:
    """Return how much the first of these is wanted that a header has."""
    return next((ranges[name] for name in names if name in ranges), 0.0)


def balance(found: use_case.Balance) -> statements_pb2.Balance:
    """Return a balance."""
    return statements_pb2.Balance(
        id=str(found.account.id),
        currency=found.account.currency,
        balance=found.balance,
        version=found.version,
        time=common.timestamp(found.time),
        basis=common.basis_number(found.basis),
    )


def statement(
    account: Head, period: Period, lines: Sequence[models.Transaction], next_page_token: str
) -> statements_pb2.Statement:
    """Return a page of a statement; raises SumOverflow for a period in which more came in or went out than that."""
    currency = account.currency
    return statements_pb2.Statement(
        id=str(account.id),
        address=account.address,
        currency=account.currency,
        from_time=common.timestamp(period.from_time),
        before_time=common.timestamp(period.before_time),
        basis=common.basis_number(period.basis),
        opening_balance=money.in_64_bits(period.opening_balance, currency, name="the opening balance"),
        credit_amount=money.in_64_bits(period.credit_amount, currency, name="the money in"),
        debit_amount=money.in_64_bits(period.debit_amount, currency, name="the money out"),
        closing_balance=money.in_64_bits(period.closing_balance, currency, name="the closing balance"),
        transactions=map(wallets.transaction, lines),
        next_page_token=next_page_token,
    )


def to_token(period: Period, position: Position) -> list[Any]:
    """Return what a page token keeps: the period as the first page found it, and where the lines go on."""
    return [
        period.before_time.isoformat(),
        period.first_version,
        period.last_version,
        period.known_version,
        str(period.opening_balance),
        str(period.credit_amount),
        str(period.debit_amount),
        position.version,
        position.backdated_time.isoformat(),
        position.backdated_version,
        str(position.balance),
    ]


def of_token(kept: list[Any], from_time: datetime.datetime, basis_: Basis) -> tuple[Period, Position]:
    """Return what `to_token` kept; the rest stands in the request, which a token belongs to."""
    before_time, first, last, known, opening, credit, debit, version, backdated_time, backdated_version, at = kept
    return (
        Period(
            from_time,
            datetime.datetime.fromisoformat(before_time),
            basis_,
            first,
            last,
            known,
            int(opening),
            int(credit),
            int(debit),
        ),
        Position(version, datetime.datetime.fromisoformat(backdated_time), backdated_version, int(at)),
    )
