"""Balances and statements against sums over the whole history, at every instant that could make a difference."""

import datetime
import itertools
import uuid
from typing import Any

import pytest

from kobklein import database
from tests import databases, histories
from tests.histories import History, Line
from wallets_service import statements
from wallets_service.instants import Basis
from wallets_service.turns import Turns

BEGINNING, END = datetime.datetime(1, 1, 1, tzinfo=datetime.UTC), datetime.datetime(9999, 12, 31, tzinfo=datetime.UTC)
BASES = pytest.mark.parametrize("basis", list(Basis))
SEEDS = pytest.mark.parametrize("seed", range(3))


@pytest.fixture(params=[{}, {"summed_at_once": 5, "walked_at_once": 2}], ids=["whole", "part by part"])
def turns(sessions: database.Sessions, request: pytest.FixtureRequest) -> Turns:
    """Let the sums be of one part, or of many that end in the middle of what happened at one time."""
    return Turns(sessions, pool_size=1, **request.param)


def recorded(wallets_database: databases.Database, seed: int, **sizes: int) -> History:
    history, rows = histories.random_history(seed, **{"transfers": 36} | sizes)
    histories.record(wallets_database.application_url, history, rows)
    return history


def time_of(line: Line, basis: Basis) -> datetime.datetime:
    return line.created_time if basis is Basis.RECORDED else line.effective_time


def place_of(line: Line, basis: Basis) -> tuple[Any, ...]:
    return (line.version,) if basis is Basis.RECORDED else (line.effective_time, line.version)


@SEEDS
@BASES
async def test_a_balance_at_an_instant_is_the_sum_of_what_counts_by_then(
    wallets_database: databases.Database, sessions: database.Sessions, turns: Turns, basis: Basis, seed: int
) -> None:
    history = recorded(wallets_database, seed)
    async with sessions() as session:
        for account_id, lines in history.lines.items():
            head = await statements.account(session, account_id, owner=None, wallets_only=False)
            for instant in history.instants(account_id):
                counted = [line.amount for line in lines if time_of(line, basis) <= instant]
                found = await statements.balance(sessions, turns, head, instant, basis)
                assert (found.balance, found.version) == (sum(counted), len(counted)), instant


@SEEDS
@BASES
async def test_a_statement_has_every_line_of_its_range_once_with_the_balance_after_it(
    wallets_database: databases.Database, sessions: database.Sessions, turns: Turns, basis: Basis, seed: int
) -> None:
    history = recorded(wallets_database, seed)
    for account_id, lines in history.lines.items():
        instants = history.instants(account_id)[:: 1 + len(lines) // 3]
        for from_time, before_time in itertools.combinations_with_replacement(instants, 2):
            found = await whole(sessions, turns, account_id, from_time, before_time, basis=basis)
            assert found == naive(lines, from_time, before_time, basis), (from_time, before_time)


async def whole(
    sessions: database.Sessions,
    turns: Turns,
    account_id: uuid.UUID,
    from_time: datetime.datetime,
    before_time: datetime.datetime,
    *,
    basis: Basis,
) -> tuple[list[tuple[int, int]], tuple[int, int, int, int]]:
    """Return the lines of a statement, read by pages of 7, and its totals."""
    lines: list[tuple[int, int]] = []
    async with sessions() as session:
        head = await statements.account(session, account_id, owner=None, wallets_only=False)
        period, position = await statements.open_(turns, head, from_time, before_time, basis)
        while position is not None:
            page, position = await statements.page(session, account_id, period, position, limit=7)
            lines += [(line.version, line.balance_after) for line in page]
            assert len(page) == 7 or position is None
    return lines, (period.opening_balance, period.credit_amount, period.debit_amount, period.closing_balance)


def naive(
    lines: list[Line], from_time: datetime.datetime, before_time: datetime.datetime, basis: Basis
) -> tuple[list[tuple[int, int]], tuple[int, int, int, int]]:
    opening = balance = sum(line.amount for line in lines if time_of(line, basis) < from_time)
    inside = [line for line in lines if from_time <= time_of(line, basis) < before_time]
    shown = []
    for line in sorted(inside, key=lambda line: place_of(line, basis)):
        balance += line.amount
        shown.append((line.version, balance))
    credit = sum(line.amount for line in inside if line.amount > 0)
    return shown, (opening, credit, opening + credit - balance, balance)


@BASES
async def test_an_account_without_transfers_held_nothing_ever(
    wallets_database: databases.Database, sessions: database.Sessions, turns: Turns, basis: Basis
) -> None:
    history = recorded(wallets_database, 1)
    (unused,) = [account_id for account_id, lines in history.lines.items() if not lines]
    async with sessions() as session:
        head = await statements.account(session, unused, owner=None, wallets_only=False)
        for instant in (histories.START, BEGINNING, END):
            found = await statements.balance(sessions, turns, head, instant, basis)
            assert (found.balance, found.version) == (0, 0)


@BASES
async def test_every_history_of_few_transfers_is_searched_rightly(
    wallets_database: databases.Database, sessions: database.Sessions, basis: Basis
) -> None:
    """Binary searches go wrong at small sizes and at ends: every known version of a history is one such size."""
    history = recorded(wallets_database, 7, accounts=2, transfers=20)
    account_id, lines = next(iter(history.lines.items()))
    async with sessions() as session:
        for until in range(0, 21, 3):
            for instant in history.instants(account_id):
                point = await statements.repository.point_before(session, account_id, instant, until=until)
                earlier = [line for line in lines[:until] if line.created_time < instant]
                assert (point.version, point.balance) == (len(earlier), sum(line.amount for line in earlier))


async def test_all_time_is_a_range_too(
    wallets_database: databases.Database, sessions: database.Sessions, turns: Turns
) -> None:
    history = recorded(wallets_database, 2)
    for account_id, lines in history.lines.items():
        for basis in Basis:
            everything = await whole(sessions, turns, account_id, BEGINNING, END, basis=basis)
            assert everything == naive(lines, BEGINNING, END, basis)
