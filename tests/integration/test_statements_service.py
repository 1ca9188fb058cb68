"""Balances, statements and exports as their callers meet them."""

import asyncio
import csv
import datetime
import io
import uuid
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import grpc
import psycopg
import pytest
from google.protobuf import timestamp_pb2

from kobklein.wallets.v1 import ledger_pb2, statements_pb2, wallets_pb2
from tests import databases, histories, wallets
from wallets_service import exports

ANA, BEN = wallets.metadata("ana", "user"), wallets.metadata("ben", "user")
STAFF = {role: wallets.metadata(f"{role}-1", role) for role in ("support", "finance", "admin", "service")}
SUPPORT = STAFF["support"]
EFFECTIVE = ledger_pb2.TIME_BASIS_EFFECTIVE
LONG_AGO = timestamp_pb2.Timestamp(seconds=1_600_000_000)


@pytest.fixture
async def client(wallets_database: databases.Database) -> AsyncIterator[wallets.Client]:
    async with wallets.running(wallets_database) as running:
        yield running


def stamp(time: timestamp_pb2.Timestamp, **shift: float) -> timestamp_pb2.Timestamp:
    moved = timestamp_pb2.Timestamp()
    moved.FromDatetime(time.ToDatetime(tzinfo=datetime.UTC) + datetime.timedelta(**shift))
    return moved


async def wallet_id(client: wallets.Client, user: str) -> str:
    return (await client.account(f"user/{user}")).id


async def balance(client: wallets.Client, caller: Any = SUPPORT, **asked: Any) -> statements_pb2.Balance:
    answer: statements_pb2.Balance = await client.statements.GetBalance(
        statements_pb2.GetBalanceRequest(**asked), metadata=caller
    )
    return answer


async def statement(client: wallets.Client, caller: Any = SUPPORT, **asked: Any) -> statements_pb2.Statement:
    request = statements_pb2.GetStatementRequest(**{"from_time": LONG_AGO, **asked})
    answer: statements_pb2.Statement = await client.statements.GetStatement(request, metadata=caller)
    return answer


async def export(client: wallets.Client, caller: Any = SUPPORT, **asked: Any) -> tuple[str, str, str]:
    """Return a file's text, type and disposition."""
    request = statements_pb2.ExportStatementRequest(**{"from_time": LONG_AGO, **asked})
    call = client.statements.ExportStatement(request, metadata=caller)
    chunks = [chunk async for chunk in call]
    disposition = dict(await call.initial_metadata())["http-content-disposition"]
    return b"".join(chunk.data for chunk in chunks).decode(), chunks[0].content_type, disposition


async def test_a_balance_is_that_of_its_instant(client: wallets.Client) -> None:
    first = (await client.fund("ana", 100)).transfer
    (second,) = await client.post(wallets.transfer("user/ana", "user/ben", 30))
    id_ = await wallet_id(client, "ana")
    time = second.transfer.created_time
    now = await balance(client, ANA, id=id_)
    assert (now.balance, now.version, now.currency, now.basis) == (70, 2, "HTG", ledger_pb2.TIME_BASIS_RECORDED)
    for at, expected in (
        (stamp(first.created_time, microseconds=-1), (0, 0)),
        (first.created_time, (100, 1)),
        (stamp(time, microseconds=-1), (100, 1)),
        (time, (70, 2)),
    ):
        found = await balance(client, ANA, id=id_, time=at)
        assert (found.balance, found.version, found.time) == (*expected, at)


async def test_an_instant_to_come_is_refused_by_the_name_of_its_field(client: wallets.Client) -> None:
    await client.fund("ana", 100)
    id_ = await wallet_id(client, "ana")
    coming = timestamp_pb2.Timestamp(seconds=4_000_000_000)
    for ask, times, field in (
        (balance, {"time": coming}, "time"),
        (statement, {"before_time": coming}, "before_time"),
        (statement, {"from_time": coming}, "from_time"),
        (export, {"before_time": coming}, "before_time"),
        (export, {"from_time": coming}, "from_time"),
    ):
        for basis in (ledger_pb2.TIME_BASIS_RECORDED, EFFECTIVE):
            status = await wallets.refused(ask(client, id=id_, basis=basis, **times))
            assert [(each.field, each.description) for each in status.violations] == [(field, "is in the future")]


async def waits(*calls: Awaitable[Any]) -> list[asyncio.Task[Any]]:
    tasks = [asyncio.ensure_future(call) for call in calls]
    done, _ = await asyncio.wait(tasks, timeout=0.5)
    assert not done
    return tasks


async def test_of_two_statements_that_meet_one_has_the_line_that_was_being_written(
    client: wallets.Client, wallets_database: databases.Database
) -> None:
    await client.fund("ana", 100)
    id_ = await wallet_id(client, "ana")
    with histories.being_recorded(wallets_database.application_url, "provider/stripe", "user/ana", 7) as (time, commit):
        (asked,) = await waits(statement(client, ANA, id=id_))
        commit()
        first = await asked
    second = await statement(client, ANA, id=id_, from_time=first.before_time)
    assert time < first.before_time.ToDatetime(tzinfo=datetime.UTC)
    assert [line.amount for page in (first, second) for line in page.transactions] == [100, 7]
    assert first.closing_balance == second.opening_balance == 107


async def test_a_balance_of_an_instant_is_the_same_before_and_after_what_was_being_written(
    client: wallets.Client, wallets_database: databases.Database
) -> None:
    await client.fund("ana", 100)
    id_ = await wallet_id(client, "ana")
    with histories.being_recorded(wallets_database.application_url, "provider/stripe", "user/ana", 7) as (time, commit):
        asked = await waits(balance(client, id=id_, time=time), balance(client, id=id_))
        commit()
        for each in asked:
            found = await each
            assert found.balance == 107
            assert await balance(client, id=id_, time=found.time) == found


async def test_a_statement_of_long_ago_waits_for_nobody(
    client: wallets.Client, wallets_database: databases.Database
) -> None:
    await client.fund("ana", 100)
    id_ = await wallet_id(client, "ana")
    with histories.being_recorded(wallets_database.application_url, "provider/stripe", "user/ana", 7):
        past = await statement(client, id=id_, before_time=stamp(LONG_AGO, days=1))
    assert (past.closing_balance, list(past.transactions)) == (0, [])


async def test_a_backdated_transfer_counts_from_its_effective_time_on_that_basis_only(client: wallets.Client) -> None:
    funded = (await client.fund("ana", 100)).transfer
    effective = stamp(funded.created_time, days=-10)
    (late,) = await client.post(
        wallets.transfer("provider/stripe", "user/ana", 7, type_="ADJUSTMENT", effective_time=effective)
    )
    assert late.HasField("transfer"), late
    id_ = await wallet_id(client, "ana")
    for at, recorded, counted in (
        (stamp(effective, microseconds=-1), (0, 0), (0, 0)),
        (effective, (0, 0), (7, 1)),
        (funded.created_time, (100, 1), (107, 2)),
        (late.transfer.created_time, (107, 2), (107, 2)),
    ):
        found = await balance(client, id=id_, time=at), await balance(client, id=id_, time=at, basis=EFFECTIVE)
        assert [(each.balance, each.version) for each in found] == [recorded, counted]
    lines = (await statement(client, id=id_, basis=EFFECTIVE)).transactions
    assert [(line.amount, line.balance_after, line.effective_time) for line in lines] == [
        (7, 7, effective),
        (100, 107, funded.created_time),
    ]


async def test_somebody_elses_wallet_is_not_found_and_only_those_who_may_get_accounts_see_every_account(
    client: wallets.Client,
) -> None:
    await client.fund("ana", 100)
    wallet, provider = await wallet_id(client, "ana"), (await client.account("provider/stripe")).id
    asks = (balance, statement, export)
    for ask in asks:
        for id_, caller in (
            (wallet, BEN),
            (provider, ANA),
            (provider, SUPPORT),
            (str(uuid.uuid4()), ANA),
            (str(uuid.uuid4()), SUPPORT),
        ):
            status = await wallets.refused(ask(client, caller, id=id_))
            assert (status.code, status.reason) == (grpc.StatusCode.NOT_FOUND, "WALLET_NOT_FOUND")
        for staff in STAFF.values():
            await ask(client, staff, id=wallet)
            if staff != SUPPORT:
                await ask(client, staff, id=provider)
    assert (await balance(client, STAFF["finance"], id=provider)).balance == -100
    assert (await statement(client, STAFF["finance"], id=provider)).address == "provider/stripe"


async def test_a_statement_ends_now_unless_it_says_otherwise(client: wallets.Client) -> None:
    await client.fund("ana", 100)
    await client.post(wallets.transfer("user/ana", "fees", 1, type_="FEE"))
    found = await statement(client, ANA, id=await wallet_id(client, "ana"))
    assert (found.opening_balance, found.credit_amount, found.debit_amount, found.closing_balance) == (0, 100, 1, 99)
    assert [line.balance_after for line in found.transactions] == [100, 99]
    assert (found.from_time, found.basis, found.next_page_token) == (LONG_AGO, ledger_pb2.TIME_BASIS_RECORDED, "")
    assert found.before_time.ToDatetime() > found.transactions[-1].created_time.ToDatetime()


@pytest.mark.parametrize("basis", [ledger_pb2.TIME_BASIS_RECORDED, EFFECTIVE])
async def test_a_statement_stays_one_while_others_write(
    client: wallets.Client, basis: "ledger_pb2.TimeBasis.ValueType"
) -> None:
    """Every page has the totals of the first one, and all lines together come to them, whatever is recorded since."""
    await client.fund("ana", 1_000)
    back = stamp((await client.fund("ana", 1)).transfer.created_time, hours=-1)
    await client.post(*(wallets.transfer("user/ana", "user/ben", 1 + number % 3) for number in range(20)))
    id_ = await wallet_id(client, "ana")
    writing = True

    async def write() -> None:
        while writing:
            await client.post(
                wallets.transfer("user/ana", "user/ben", 1),
                wallets.transfer("provider/stripe", "user/ana", 2, type_="ADJUSTMENT", effective_time=back),
            )

    writer = asyncio.create_task(write())
    asked = {"id": id_, "basis": basis, "page_size": 3}
    pages = [await statement(client, ANA, **asked)]
    while pages[-1].next_page_token:
        written = (await client.account("user/ana")).version
        while (await client.account("user/ana")).version == written:
            pass  # Something is recorded between any two pages.
        pages.append(await statement(client, ANA, **asked, page_token=pages[-1].next_page_token))
    writing = False
    await writer
    shown = [(p.opening_balance, p.credit_amount, p.debit_amount, p.closing_balance, p.before_time) for p in pages]
    assert len(set(map(str, shown))) == 1
    lines = [line for page in pages for line in page.transactions]
    signed = [line.amount if line.direction == wallets_pb2.DIRECTION_CREDIT else -line.amount for line in lines]
    running = [sum(signed[: number + 1]) for number in range(len(signed))]
    assert [line.balance_after for line in lines] == running
    assert running[-1] == pages[0].closing_balance
    assert len({line.id for line in lines}) == len(lines)
    assert len(pages) > 5


async def test_a_page_token_belongs_to_its_statement(client: wallets.Client) -> None:
    await client.fund("ana", 1)
    await client.fund("ana", 2)
    id_ = await wallet_id(client, "ana")
    token = (await statement(client, ANA, id=id_, page_size=1)).next_page_token
    for changes in (
        {"basis": EFFECTIVE},
        {"from_time": stamp(LONG_AGO, seconds=1)},
        {"before_time": stamp(LONG_AGO, days=1)},
        {"id": (await client.account("provider/stripe")).id},
        {"page_token": token[:-2] + "AA"},
    ):
        status = await wallets.refused(statement(client, **{"id": id_, "page_token": token, **changes}))
        assert [each.field for each in status.violations] == ["page_token"]


async def test_a_range_that_ends_before_it_begins_and_an_unknown_zone_are_wrong(client: wallets.Client) -> None:
    await client.fund("ana", 1)
    id_ = await wallet_id(client, "ana")
    for ask in (statement, export):
        status = await wallets.refused(ask(client, id=id_, before_time=stamp(LONG_AGO, microseconds=-1)))
        assert [each.field for each in status.violations] == ["before_time"]
        status = await wallets.refused(ask(client, id=id_, from_time=timestamp_pb2.Timestamp(seconds=2**60)))
        assert [each.field for each in status.violations] == ["from_time"]
    for name in ("Mars/Base", "../etc/passwd", "/etc/localtime", "utc\n", "localtime", "Factory"):
        status = await wallets.refused(export(client, id=id_, time_zone=name))
        assert [each.field for each in status.violations] == ["time_zone"]


async def test_a_finer_instant_than_a_microsecond_is_before_the_next_one(client: wallets.Client) -> None:
    time = (await client.fund("ana", 5)).transfer.created_time
    finer = timestamp_pb2.Timestamp(seconds=time.seconds, nanos=time.nanos + 1)
    id_ = await wallet_id(client, "ana")
    assert [line.amount for line in (await statement(client, id=id_, before_time=time)).transactions] == []
    assert [line.amount for line in (await statement(client, id=id_, before_time=finer)).transactions] == [5]
    assert [line.amount for line in (await statement(client, id=id_, from_time=time)).transactions] == [5]
    assert [line.amount for line in (await statement(client, id=id_, from_time=finer)).transactions] == []


@pytest.mark.parametrize("basis", [ledger_pb2.TIME_BASIS_RECORDED, EFFECTIVE])
async def test_an_export_has_the_lines_and_sums_of_the_statement(
    client: wallets.Client, basis: "ledger_pb2.TimeBasis.ValueType"
) -> None:
    count = 2 * exports.LINES_PER_CHUNK + 7
    back = stamp((await client.fund("ana", 10_000)).transfer.created_time, hours=-1)
    await client.post(
        *(
            wallets.transfer("user/ana", "user/ben", 1, description=f"=cmd|'{number}'")
            if number % 3
            else wallets.transfer("provider/stripe", "user/ana", 2, type_="ADJUSTMENT", effective_time=back)
            for number in range(count)
        )
    )
    id_ = await wallet_id(client, "ana")
    text, media_type, disposition = await export(client, ANA, id=id_, basis=basis, time_zone="America/Port-au-Prince")
    opening, *lines, closing = csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True)
    assert media_type.startswith("text/csv")
    day = closing["recorded_time"][:10].replace("-", "")
    assert disposition == f'attachment; filename="statement-{id_[:8]}-HTG-20200913-{day}.csv"'
    listed, token = [], ""
    while not listed or token:
        page = await statement(
            client, ANA, id=id_, basis=basis, page_size=200, page_token=token, before_time=before(closing)
        )
        listed, token = [*listed, *page.transactions], page.next_page_token
    assert [(line["transaction_id"], cents(line["balance"])) for line in lines] == [
        (each.id, each.balance_after) for each in listed
    ]
    assert len(lines) == count + 1
    assert (cents(opening["balance"]), cents(closing["balance"])) == (page.opening_balance, page.closing_balance)
    assert (cents(closing["credit_amount"]), cents(closing["debit_amount"])) == (page.credit_amount, page.debit_amount)
    assert not any(line["description"].startswith("=") for line in lines)


def before(closing: dict[str, str]) -> timestamp_pb2.Timestamp:
    time = timestamp_pb2.Timestamp()
    time.FromJsonString(closing["recorded_time"])
    return time


def cents(text: str) -> int:
    return int(text.replace(".", ""))


async def test_a_page_to_print_is_shown_not_saved(client: wallets.Client) -> None:
    await client.fund("ana", 12_345)
    text, media_type, disposition = await export(
        client, ANA, id=await wallet_id(client, "ana"), format=statements_pb2.STATEMENT_FORMAT_HTML
    )
    assert (media_type, disposition.partition(";")[0]) == ("text/html; charset=utf-8", "inline")
    assert disposition.endswith('.html"')
    assert "Card top-up" in text
    assert "123.45 HTG" in text
    assert "UTC" in text


async def test_who_reads_a_file_slowly_holds_no_connection(wallets_database: databases.Database) -> None:
    async with wallets.running(wallets_database, database_pool_size=1) as client:
        await client.fund("ana", 100_000)
        transfers = [wallets.transfer("user/ana", "user/ben", 1, description="x" * 500) for _ in range(4_000)]
        await client.post(*transfers)
        id_ = await wallet_id(client, "ana")
        request = statements_pb2.ExportStatementRequest(id=id_, from_time=LONG_AGO)
        calls = [client.statements.ExportStatement(request, metadata=ANA).__aiter__() for _ in range(5)]
        heads = [await anext(call) for call in calls]
        assert (await balance(client, id=id_)).balance == 96_000
        for head, call in zip(heads, calls, strict=True):
            chunks = [head, *[chunk async for chunk in call]]
            assert max(len(chunk.data) for chunk in chunks) < 2**20
            assert sum(len(chunk.data) for chunk in chunks) > 4_000 * 500


async def test_statements_take_a_part_of_the_connections_only(wallets_database: databases.Database) -> None:
    """Somebody's lock on the transfers stands for sums that take long."""
    async with wallets.running(wallets_database, database_pool_size=4) as client:
        await client.fund("ana", 100)
        asked = {"id": await wallet_id(client, "ana"), "before_time": stamp(LONG_AGO, days=1)}
        with psycopg.connect(wallets_database.superuser_url) as holder:
            holder.execute("LOCK TABLE transfers")
            waiting = [asyncio.create_task(statement(client, **asked)) for _ in range(10)]
            waiting += [asyncio.create_task(balance(client, id=asked["id"], time=LONG_AGO, basis=EFFECTIVE))]
            await wallets.until_waiting(wallets_database, "Lock")
            for _ in range(50):  # Meanwhile, all of them come to their sums.
                assert (await client.account("user/ana")).balance == 100
            holder.rollback()
        assert [each.closing_balance for each in await asyncio.gather(*waiting[:10])] == [0] * 10
