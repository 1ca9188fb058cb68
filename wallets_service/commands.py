"""The commands of those who audit a ledger: `verify`, `head` and `trial-balance`, straight from the database.

They need `WALLETS_DATABASE_URL` alone, take as long as the ledger is large, and write nothing.
"""

import contextlib
import datetime
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final, NoReturn

import psycopg
import pydantic
import pydantic_settings
import rich.console
import rich.markup
import rich.progress
import rich.table
import typer
from google.protobuf import json_format, message

from kobklein import configuration, errors, money, validation
from kobklein.settings import DatabaseUrl, Key, ListOf, SecretKey, Variables
from kobklein.wallets.v1 import ledger_pb2
from wallets_service import settings as service
from wallets_service.instants import Basis
from wallets_service.messages import proofs
from wallets_service.proof import chain, snapshots, trial_balances, verification
from wallets_service.repository import seals as repository

app = typer.Typer()
_FAILED: Final = 1
_UNDECIDED: Final = 2
_console: Final = rich.console.Console(soft_wrap=True, highlight=False)
_aside: Final = rich.console.Console(stderr=True, soft_wrap=True, highlight=False)

_AsJson = Annotated[bool, typer.Option("--json", help="Print JSON; amounts are minor units.")]


class Settings(Variables):
    """What the commands need of the service's environment."""

    model_config = pydantic_settings.SettingsConfigDict(env_prefix="WALLETS_")

    database_url: DatabaseUrl
    seal_key: SecretKey | None = None
    seal_trusted_keys: ListOf[Key] = ()
    audit_statement_seconds: float = pydantic.Field(default=3600.0, gt=0)
    """How long one statement of a command may take; a database that is silent for longer is given up."""

    @property
    def clock(self) -> snapshots.Clock:
        """The limits of a command: it may last, but none of its statements hangs."""
        return snapshots.Clock(statement_seconds=self.audit_statement_seconds)

    @property
    def own_key(self) -> frozenset[bytes]:
        """The public half of the key that the service signs with, where that is known here."""
        if self.seal_key is None:
            return frozenset()
        return frozenset({chain.Key.of_hex(self.seal_key.get_secret_value()).public})


@app.command()
def verify(
    head: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="A head that was kept elsewhere.")
    ] = None,
    public_key: Annotated[
        list[str] | None, typer.Option(help="A key that may sign, in hexadecimal; more than once for more keys.")
    ] = None,
    as_json: _AsJson = False,
) -> None:
    """Check the whole ledger: sums, floors, histories, holds, reversals, groups, conversions, and the chain of seals.

    Exit with 1 if anything does not hold, with 2 if that cannot be told.
    """
    with _told():
        settings = _settings()
        trusted = settings.own_key | _keys([*settings.seal_trusted_keys, *(public_key or ())])
        kept = _read_head(head) if head is not None else None
        with _progress() as advance:
            report = verification.verify(
                settings.database_url.get_secret_value(),
                settings.clock,
                head=kept,
                trusted=trusted,
                progress=advance,
            )
    if as_json:
        _print_json(proofs.report(report))
    else:
        _show_report(report)
    if not trusted:
        _aside.print("No public key was given: each signature was only checked against the key that stands beside it.")
    sys.exit(_FAILED if report.breaks else 0)


@app.command()
def head() -> None:
    """Print the signed end of the chain of seals as JSON, to be kept where nobody can change both."""
    with _told():
        settings = _settings()
        with snapshots.connected(settings.database_url.get_secret_value(), settings.clock) as snapshot:
            last = repository.latest(snapshot.connection)
    if last is None:
        _aside.print("Nothing is sealed yet.")
        sys.exit(_UNDECIDED)
    _print_json(proofs.head(last.head))


@app.command()
def trial_balance(
    time: Annotated[
        str | None, typer.Option(help="The instant, such as 2026-12-31T23:59:59Z; now when absent.")
    ] = None,
    currency: Annotated[str, typer.Option(help="Only this one, such as HTG.")] = "",
    basis: Annotated[Basis, typer.Option(help="Which of a transfer's times counts.")] = Basis.RECORDED,
    as_json: _AsJson = False,
) -> None:
    """Add up debits, credits and balances per currency and kind of account, as of an instant.

    Exit with 1 if they do not sum to zero, with 2 if that cannot be told.
    """
    at = _instant(time) if time is not None else None
    with _told(), _progress() as advance:
        validation.check(ledger_pb2.GetTrialBalanceRequest(currency=currency))
        settings = _settings()
        advance("adding up", 0, 0)
        url = settings.database_url.get_secret_value()
        found = trial_balances.draw_up(url, settings.clock, at=at, basis=basis, currency=currency)
    if as_json:
        _print_json(proofs.trial_balance(found))
    else:
        _show_trial_balance(found)
    sys.exit(_FAILED if any(line.balance for line in found.totals) else 0)


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Say in one line why the question has no answer, and exit."""
    try:
        yield
    except errors.Error as error:
        _give_up(str(error))
    except psycopg.Error as error:
        # What PostgreSQL answers names no secret; what the client says of a URL that it cannot read repeats the URL.
        answer = error.diag.message_primary
        _give_up(f"WALLETS_DATABASE_URL names no ledger: {answer or 'it cannot be read'}")


def _settings() -> Settings:
    return configuration.read(Settings, beside=(service.Settings, service.MigrationSettings))


def _give_up(why: str) -> NoReturn:
    _aside.print(why, markup=False)
    sys.exit(_UNDECIDED)


@contextlib.contextmanager
def _progress() -> Iterator[verification.Progress]:
    """Yield what moves a bar on the terminal; without a terminal, nothing is drawn."""
    columns = (
        rich.progress.SpinnerColumn(),
        rich.progress.TextColumn("{task.description}"),
        rich.progress.BarColumn(),
        rich.progress.MofNCompleteColumn(),
        rich.progress.TimeElapsedColumn(),
    )
    with rich.progress.Progress(*columns, console=_aside, transient=True, disable=not _aside.is_terminal) as bar:
        task = bar.add_task("starting", total=None)
        yield lambda step, done, of: bar.update(task, description=step, completed=done, total=of or None)


def _keys(given: list[str]) -> frozenset[bytes]:
    try:
        keys = frozenset(map(bytes.fromhex, given))
    except ValueError as error:
        raise typer.BadParameter("a public key is 64 hexadecimal digits") from error
    if any(len(key) != chain.KEY_BYTES for key in keys):
        raise typer.BadParameter("a public key is 64 hexadecimal digits")
    return keys


def _read_head(path: Path) -> chain.Head:
    try:
        kept = proofs.head_of(json_format.Parse(path.read_text(), ledger_pb2.LedgerHead()), "head")
    except (json_format.ParseError, ValueError, errors.InvalidArgument) as error:
        raise typer.BadParameter(f"{path} does not hold a head: {error}") from error
    if kept is None:  # To pass it over would say that everything holds, of a file that has lost what it held.
        raise typer.BadParameter(f"{path} does not hold a head: it is empty")
    return kept


def _instant(text: str) -> datetime.datetime:
    try:
        time = datetime.datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is not an instant, such as 2026-12-31T23:59:59Z") from error
    return time if time.tzinfo else time.replace(tzinfo=datetime.UTC)


def _print_json(found: message.Message) -> None:
    sys.stdout.write(json_format.MessageToJson(found) + "\n")


def _show_report(report: verification.Report) -> None:
    _console.print(
        f"{report.account_count} accounts, {report.transfer_count} transfers, {report.hold_count} holds,"
        f" {report.sealed_count} sealed, as of {report.verified_time.isoformat()}"
    )
    totals = rich.table.Table("currency", "sum of balances", "owed to users")
    for total in report.totals:
        totals.add_row(
            rich.markup.escape(total.currency),
            _amount(total.balance, total.currency),
            _amount(total.user_balance, total.currency),
        )
    _console.print(totals)
    if not report.breaks:
        _console.print("Everything holds.")
        return
    check = rich.table.Column("check", no_wrap=True)  # Whoever searches the output for one finds it whole.
    breaks = rich.table.Table(check, "place", "account", "transfer or hold", "expected", "actual", "what")
    for found in report.breaks:
        breaks.add_row(*map(rich.markup.escape, _cells(found)))
    _console.print(breaks)
    _console.print(f"{len(report.breaks)} things do not hold.")


def _cells(found: verification.Break) -> tuple[str, ...]:
    about_money = bool(found.expected_amount or found.actual_amount)
    return (
        found.check,
        str(found.sequence or ""),
        f"{found.address or ''} {found.currency or ''}".strip(),
        str(found.transfer_id or found.hold_id or ""),
        _amount(found.expected_amount, found.currency or "") if about_money else "",
        _amount(found.actual_amount, found.currency or "") if about_money else "",
        found.detail,
    )


def _show_trial_balance(found: trial_balances.TrialBalance) -> None:
    _console.print(f"As of {found.time.isoformat()}, by the time that was {found.basis}.")
    table = rich.table.Table("currency", "kind", "accounts", "debits", "credits", "balance")
    for line in sorted([*found.lines, *found.totals], key=lambda line: (line.currency, not line.kind, line.kind)):
        amounts = (line.debit_amount, line.credit_amount, line.balance)
        table.add_row(
            rich.markup.escape(line.currency),
            rich.markup.escape(line.kind or "all"),
            str(line.account_count),
            *(_amount(amount, line.currency) for amount in amounts),
            style="" if line.kind else "bold",
        )
    _console.print(table)


def _amount(amount: int, currency: str) -> str:
    """Return an amount as a decimal; in a currency that nobody knows, as it is."""
    try:
        return money.render(amount, currency)
    except money.UnknownCurrency:
        return str(amount)
