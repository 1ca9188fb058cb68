"""Holds as tests use them: made, taken, given back and waited for."""

import asyncio
import uuid
from typing import Any

import psycopg

from kobklein.wallets.v1 import holds_pb2
from tests import databases, waiting, wallets


async def create(client: wallets.Client, payer: str = "ana", *, key: str = "", **fields: Any) -> holds_pb2.Hold:
    """Let a user reserve 25 minor units for `ben`, unless the fields say otherwise."""
    given = {"to_user_id": "ben", "amount": 25, "currency": "HTG", "to_new_user": True, **fields}
    request = holds_pb2.CreateHoldRequest(**given)
    made: holds_pb2.Hold = await client.holds.CreateHold(request, metadata=user(payer, key))
    return made


async def post(
    client: wallets.Client, hold: holds_pb2.Hold, amount: int | None = None, *, caller: str = "ben", key: str = "",
    **fields: Any,
) -> holds_pb2.Hold:  # fmt: skip
    """Let the payee take a part, or all that is left."""
    given = {} if amount is None else {"amount": amount, "currency": "HTG"}
    request = holds_pb2.PostHoldRequest(id=hold.id, **{**given, **fields})
    posted: holds_pb2.Hold = await client.holds.PostHold(request, metadata=user(caller, key))
    return posted


def kept(answer: holds_pb2.Hold) -> holds_pb2.Hold:
    """Return a hold as later answers show it, without what the post that is answered has left."""
    shown = holds_pb2.Hold()
    shown.CopyFrom(answer)
    for field in ("transfer_id", "balance_after", "debit_balance_after", "credit_balance_after"):
        shown.ClearField(field)
    return shown


async def void(client: wallets.Client, hold: holds_pb2.Hold, *, caller: str = "ben", key: str = "") -> holds_pb2.Hold:
    """Let the payee give back what is left."""
    metadata = wallets.metadata(caller, "user", key=key)
    voided: holds_pb2.Hold = await client.holds.VoidHold(holds_pb2.VoidHoldRequest(id=hold.id), metadata=metadata)
    return voided


async def get(client: wallets.Client, id_: str, caller: str = "ana", role: str = "user") -> holds_pb2.Hold:
    """Return a hold."""
    request = holds_pb2.GetHoldRequest(id=id_)
    found: holds_pb2.Hold = await client.holds.GetHold(request, metadata=wallets.metadata(caller, role))
    return found


async def until_over(database: databases.Database, hold: holds_pb2.Hold) -> None:
    """Return once the database's clock says that a hold's time is over."""
    await waiting.until_over(database, "holds", hold.id)


async def until_recorded(database: databases.Database, hold: holds_pb2.Hold, status: str) -> None:
    """Return once a hold's row has a status."""
    while recorded(database, hold) != status:  # noqa: ASYNC110  # rows of another session set no event
        await asyncio.sleep(0.02)


def recorded(database: databases.Database, hold: holds_pb2.Hold) -> str:
    """Return the status of a hold's row, whatever it reads as."""
    ((status,),) = rows(database, "SELECT status FROM holds WHERE id = %s", hold.id)
    return str(status)


def rows(database: databases.Database, query: str, *values: Any) -> list[tuple[Any, ...]]:
    """Return what a query finds."""
    with psycopg.connect(database.superuser_url, autocommit=True) as connection:
        return connection.execute(query.encode(), values).fetchall()


def user(subject: str, key: str = "") -> Any:
    """Return the metadata of a user's call with a key, a new one if none is given."""
    return wallets.metadata(subject, "user", key=key or str(uuid.uuid4()))
