"""A ledger with a past, for those who tamper with it: sealed in known steps, without a running service."""

import contextlib
import dataclasses
import datetime
import random
import uuid
from collections.abc import Sequence
from typing import Final

from tests import databases, wallets
from wallets_service.ledger import entries
from wallets_service.ledger.group_commit import Ledger
from wallets_service.proof import chain, seals
from wallets_service.settings import Settings

USERS: Final = tuple(f"user/{number}" for number in range(8))
_LIFETIME: Final = datetime.timedelta(hours=1)
_PAST: Final = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


@dataclasses.dataclass(frozen=True)
class Written:
    """A database, and who seals it."""

    database: databases.Database
    settings: Settings
    key: chain.Key

    def seal(self) -> None:
        """Seal everything that is committed."""
        with contextlib.closing(seals.Sealer(self.database.application_url, self.key)) as sealer:
            sealer.seal()


async def written(database: databases.Database, *, rounds: int, seed: int = 1) -> Written:
    """Return a ledger of so many seals with every kind of transfer in it."""
    settings = wallets.settings(database)
    made = Written(database, settings, settings.signing_key)
    rng = random.Random(seed)
    book = Ledger(settings)
    async with book.running():
        deposits = [transfer("provider/stripe", user, 1_000_000, type_="DEPOSIT") for user in USERS]
        await posted(book, deposits)
        made.seal()
        for _ in range(rounds - 1):
            await _one_round(book, rng)
            made.seal()
    return made


async def _one_round(book: Ledger, rng: random.Random) -> None:
    """Post plain transfers, a linked pair, a reversal, a part of a hold, and a backdated one."""
    plain = [
        transfer(*rng.sample(USERS, 2), rng.randint(1, 999), reference=f"r{number}", metadata={"n": number, "a": "é"})
        for number in range(rng.randint(1, 12))
    ]
    await posted(book, plain)
    original = transfer(*rng.sample(USERS, 2), 500, payment_id=str(uuid.uuid4()), description="bill")
    pair = [transfer(USERS[0], USERS[1], 5, linked=True), transfer(USERS[1], USERS[2], 5)]
    late = transfer(USERS[3], USERS[4], 7, effective_time=_PAST)
    await posted(book, [original, *pair, late])
    debit, credit = original.debit_account, original.credit_account
    held = entries.NewHold(str(uuid.uuid4()), debit, credit, 80, "HTG", "TRANSFER", _LIFETIME)
    back = transfer(credit, debit, 200, type_="REFUND", reverses_id=original.id)
    await posted(book, [held, transfer(debit, credit, 30, hold_id=held.id), back])


def transfer(debit: str, credit: str, amount: int, *, type_: str = "TRANSFER", **fields: object) -> entries.Transfer:
    """Return a transfer in HTG with a new id."""
    return entries.Transfer(str(uuid.uuid4()), debit, credit, amount, "HTG", type_, **fields)  # type: ignore[arg-type]  # as given


async def posted(book: Ledger, operations: Sequence[entries.Operation]) -> None:
    """Post operations; none may be refused."""
    refused = [each for each in await book.post(operations) if isinstance(each, Exception)]
    assert not refused, refused
