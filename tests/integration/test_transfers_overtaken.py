"""Calls that somebody else overtakes, between what they read and what they post."""

import contextlib
import dataclasses
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import pytest

from kobklein import calls, database, ids
from kobklein import errors as kobklein_errors
from tests import databases, transfers, wallets
from wallets_service import errors, reversals, settings
from wallets_service import transfers as use_case
from wallets_service.ledger import book, entries
from wallets_service.ledger import group_commit as ledger


@pytest.fixture
async def client(wallets_database: databases.Database) -> AsyncIterator[wallets.Client]:
    async with wallets.running(wallets_database) as client:
        await client.fund("ana", 10_000)
        yield client


async def reversed_amount(client: wallets.Client, id_: str) -> int:
    return (await transfers.get(client, id_, caller=transfers.FINANCE)).reversed_amount


class Overtaken(ledger.Ledger):
    """A ledger that somebody else reaches first, after the call has read what it posts."""

    def __init__(self, configured: settings.Settings, meanwhile: Callable[[], Awaitable[object]]) -> None:
        super().__init__(configured)
        self._meanwhile = meanwhile

    async def post(self, operations: Sequence[entries.Operation]) -> list[book.Outcome]:
        await self._meanwhile()
        return await super().post(operations)


@dataclasses.dataclass(frozen=True)
class Slow:
    """What a use case needs for a call that is overtaken."""

    ledger: ledger.Ledger
    sessions: database.Sessions
    call: calls.Call


@contextlib.asynccontextmanager
async def overtaken(on: databases.Database, meanwhile: Callable[[], Awaitable[object]]) -> AsyncIterator[Slow]:
    configured = wallets.settings(on)
    engine = database.engine(on.application_url, pool_size=1)
    slow, call = Overtaken(configured, meanwhile), calls.Call(None, unrestricted=True, request_id="")
    token = calls.enter(call)
    try:
        async with slow.running():
            yield Slow(slow, database.sessions(engine), call)
    finally:
        calls.leave(token)
        await engine.dispose()


ORDER = use_case.Order(user_id="ana", to_user_id="ben", amount=700, currency="HTG", to_new_user=True)
KEY_ID = ids.of_key("ana", "k-1")


@pytest.mark.parametrize(("fee", "fee_meanwhile"), [(0, 50), (50, 0), (50, 99)])
async def test_a_transfer_that_is_overtaken_under_another_fee_answers_what_was_charged(
    client: wallets.Client, wallets_database: databases.Database, fee: int, fee_meanwhile: int
) -> None:
    await transfers.set_fee(client, fixed_amount=fee)

    async def meanwhile() -> None:
        await transfers.set_fee(client, fixed_amount=fee_meanwhile)
        await transfers.send(client, "ana", "ben", 700, key="k-1")

    async with overtaken(wallets_database, meanwhile) as slow:
        made = await use_case.create(slow.ledger, slow.sessions, ORDER, id_=KEY_ID, currencies=wallets.CURRENCIES)
    assert (made.fee.transfer.amount if made.fee else 0) == fee_meanwhile
    assert slow.call.replayed
    assert (await client.account("user/ana")).balance == 9_300 - fee_meanwhile


async def test_a_transfer_that_is_overtaken_by_another_with_its_key_is_refused(
    client: wallets.Client, wallets_database: databases.Database
) -> None:
    async with overtaken(wallets_database, lambda: transfers.send(client, "ana", "ben", 1, key="k-1")) as slow:
        with pytest.raises(kobklein_errors.IdempotencyKeyReused):
            await use_case.create(slow.ledger, slow.sessions, ORDER, id_=KEY_ID, currencies=wallets.CURRENCIES)
    assert (await client.account("user/ben")).balance == 1


def reversal(original_id: str, amount: int | None = None) -> reversals.Order:
    return reversals.Order(
        original_id=uuid.UUID(original_id), amount=amount, currency="HTG" if amount else "", reason="a mistake"
    )


async def test_a_reversal_of_all_that_is_overtaken_by_a_part_is_refused(
    client: wallets.Client, wallets_database: databases.Database
) -> None:
    original = await transfers.send(client, "ana", "ben", 700)
    await client.fund("ben", 10_000)
    async with overtaken(wallets_database, lambda: transfers.reverse(client, original.id, 1)) as slow:
        with pytest.raises(errors.ReversalExceeded) as refusal:
            await reversals.reverse(slow.ledger, slow.sessions, reversal(original.id), id_=uuid.uuid4())
    assert refusal.value.metadata["reversible"] == "6.99"
    assert await reversed_amount(client, original.id) == 1


async def test_a_reversal_of_all_that_is_overtaken_by_its_repetition_answers_the_same(
    client: wallets.Client, wallets_database: databases.Database
) -> None:
    original = await transfers.send(client, "ana", "ben", 700)
    await client.fund("ben", 10_000)

    async def meanwhile() -> None:
        await transfers.reverse(client, original.id, 1)
        await transfers.reverse(client, original.id, key="k-1")

    async with overtaken(wallets_database, meanwhile) as slow:
        id_ = ids.of_key("fin", "k-1")
        posting = await reversals.reverse(slow.ledger, slow.sessions, reversal(original.id), id_=id_)
    assert (posting.transfer.amount, slow.call.replayed) == (699, True)
    assert await reversed_amount(client, original.id) == 700


async def test_a_reversal_that_is_overtaken_by_another_with_its_key_is_refused(
    client: wallets.Client, wallets_database: databases.Database
) -> None:
    original = await transfers.send(client, "ana", "ben", 700)

    async def meanwhile() -> None:
        await transfers.reverse(client, original.id, 2, key="k-1")

    async with overtaken(wallets_database, meanwhile) as slow:
        id_ = ids.of_key("fin", "k-1")
        with pytest.raises(kobklein_errors.IdempotencyKeyReused):
            await reversals.reverse(slow.ledger, slow.sessions, reversal(original.id, 1), id_=id_)
    assert await reversed_amount(client, original.id) == 2
