"""Histories of accounts as tests need them: with times of their own choice, and what they add up to, naively."""

import contextlib
import dataclasses
import datetime
import random
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence

import psycopg

START = datetime.datetime(2026, 3, 1, tzinfo=datetime.UTC)
TICK = datetime.timedelta(microseconds=1)


@dataclasses.dataclass(frozen=True)
class Line:
    """A transfer as one account sees it."""

    amount: int
    """Credits are positive, debits negative."""
    version: int
    created_time: datetime.datetime
    effective_time: datetime.datetime


@dataclasses.dataclass(frozen=True)
class History:
    """Everything that is recorded about some accounts."""

    lines: dict[uuid.UUID, list[Line]]

    def instants(self, account_id: uuid.UUID) -> list[datetime.datetime]:
        """Return every time that something happened at, the instants next to it, and some far away."""
        times = {time for line in self.lines[account_id] for time in (line.created_time, line.effective_time)}
        near = {time + shift * TICK for time in times for shift in (-1, 0, 1)}
        return sorted(near | {START - datetime.timedelta(days=999), START + datetime.timedelta(days=999)})


def random_history(seed: int, *, accounts: int = 3, transfers: int = 60) -> tuple[History, list[tuple[object, ...]]]:
    """Return a history in which times stand still or go on, and one transfer in three is backdated, and its rows."""
    dice = random.Random(seed)
    ids = [uuid.UUID(int=dice.getrandbits(128), version=4) for _ in range(accounts)]
    lines: dict[uuid.UUID, list[Line]] = {id_: [] for id_ in ids}
    rows, time = [], START
    for place in range(transfers):
        time += dice.choice([0, 0, 1, 2, 1000, 86_400_000_000]) * TICK
        debit, credit = dice.sample(ids[:-1], 2) if accounts > 2 else ids
        back = dice.choice([None, None, dice.choice([1, 2, 3, 86_400_000_000, 200_000_000_000])])
        effective = None if back is None else time - back * TICK
        amount = dice.randint(1, 50)
        for id_, signed in ((debit, -amount), (credit, amount)):
            lines[id_].append(Line(signed, len(lines[id_]) + 1, time, effective or time))
        balances = [sum(line.amount for line in lines[id_]) for id_ in (debit, credit)]
        versions = [len(lines[id_]) for id_ in (debit, credit)]
        rows.append((uuid.UUID(int=place + 1), debit, credit, amount, *balances, *versions, time, effective, place + 1))
    return History(lines), rows


def record(url: str, history: History, rows: Iterable[Sequence[object]]) -> None:
    """Write a history into an empty ledger, as its application role."""
    with psycopg.connect(url) as connection, connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO accounts (id, address, currency, balance, version) VALUES (%s, %s, 'HTG', %s, %s)",
            [
                (id_, f"user/{id_}", sum(line.amount for line in lines), len(lines))
                for id_, lines in history.lines.items()
            ],
        )
        cursor.executemany(
            "INSERT INTO transfers (id, debit_account_id, credit_account_id, amount, debit_balance_after,"
            " credit_balance_after, debit_version, credit_version, created_time, effective_time, place, currency, type)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, 'HTG', 'TRANSFER')",
            rows,
        )


@contextlib.contextmanager
def being_recorded(
    url: str, debit: str, credit: str, amount: int
) -> Iterator[tuple[datetime.datetime, Callable[[], None]]]:
    """Record a transfer as a batch does, and yield its time and what commits it, at the latest when left."""
    with psycopg.connect(url) as connection:
        connection.execute("SELECT pg_current_xact_id()")
        (time,) = connection.execute("SELECT clock_timestamp()").fetchone() or (START,)
        accounts = {"debit": debit, "credit": credit, "amount": amount, "time": time}
        connection.execute(
            "INSERT INTO transfers (id, debit_account_id, credit_account_id, amount, debit_balance_after,"
            " credit_balance_after, debit_version, credit_version, created_time, currency, type)"
            " SELECT gen_random_uuid(), d.id, c.id, %(amount)s, d.balance - %(amount)s, c.balance + %(amount)s,"
            " d.version + 1, c.version + 1, %(time)s, 'HTG', 'DEPOSIT' FROM accounts d, accounts c"
            " WHERE (d.address, d.currency, c.address, c.currency) = (%(debit)s, 'HTG', %(credit)s, 'HTG')",
            accounts,
        )
        connection.execute(
            "UPDATE accounts SET version = version + 1, updated_time = %(time)s,"
            " balance = balance + CASE address WHEN %(debit)s THEN -%(amount)s ELSE %(amount)s END"
            " WHERE address IN (%(debit)s, %(credit)s) AND currency = 'HTG'",
            accounts,
        )
        yield time, connection.commit
