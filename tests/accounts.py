"""What admins set on accounts, as tests do it."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any, Final

from google.protobuf import field_mask_pb2

from kobklein.wallets.v1 import accounts_pb2, ledger_pb2
from tests import databases, ledger_oracle, wallets

ADMIN: Final = wallets.metadata("root", "admin")


@contextlib.asynccontextmanager
async def running(database: databases.Database) -> AsyncIterator[wallets.Client]:
    """Run a service that gives no expired hold back by itself and where Ana has 100; in the end all must add up."""
    async with wallets.running(database, hold_sweep_seconds=3600.0) as client:
        await client.fund("ana", 100)
        yield client
        ledger_oracle.check(database.superuser_url)


async def update(
    client: wallets.Client,
    id_: str,
    *paths: str,
    etag: str = "",
    reason: str = "by the book",
    caller: Any = ADMIN,
    **account: Any,
) -> ledger_pb2.Account:
    request = accounts_pb2.UpdateAccountRequest(
        id=id_,
        account=ledger_pb2.Account(**{"currency": "HTG", **account}),
        update_mask=field_mask_pb2.FieldMask(paths=paths),
        etag=etag,
        reason=reason,
    )
    changed: ledger_pb2.Account = await client.accounts.UpdateAccount(request, metadata=caller)
    return changed


async def freeze(client: wallets.Client, id_: str, direction: Any = 0) -> ledger_pb2.Account:
    request = accounts_pb2.FreezeAccountRequest(id=id_, direction=direction, reason="police")
    frozen: ledger_pb2.Account = await client.accounts.FreezeAccount(request, metadata=ADMIN)
    return frozen


async def unfreeze(client: wallets.Client, id_: str) -> ledger_pb2.Account:
    request = accounts_pb2.UnfreezeAccountRequest(id=id_, reason="cleared")
    unfrozen: ledger_pb2.Account = await client.accounts.UnfreezeAccount(request, metadata=ADMIN)
    return unfrozen


async def close(client: wallets.Client, id_: str) -> ledger_pb2.Account:
    request = accounts_pb2.CloseAccountRequest(id=id_, reason="left")
    closed: ledger_pb2.Account = await client.accounts.CloseAccount(request, metadata=ADMIN)
    return closed


async def set_limits(client: wallets.Client, currency: str = "HTG", **limits: int) -> ledger_pb2.Limits:
    request = accounts_pb2.SetCurrencyLimitsRequest(
        limits=ledger_pb2.Limits(currency=currency, **limits), reason="central bank"
    )
    now: ledger_pb2.Limits = await client.accounts.SetCurrencyLimits(request, metadata=ADMIN)
    return now


async def entries(client: wallets.Client, page_size: int = 50, **conditions: Any) -> list[accounts_pb2.AuditEntry]:
    request = accounts_pb2.ListAuditEntriesRequest(page_size=page_size, **conditions)
    found: list[accounts_pb2.AuditEntry] = []
    while True:
        page = await client.accounts.ListAuditEntries(request, metadata=ADMIN)
        assert len(page.entries) <= page_size
        found += page.entries
        request.page_token = page.next_page_token
        if not request.page_token:
            return found


async def pay(
    client: wallets.Client, amount: int, debit: str = "user/ana", credit: str = "user/ben", *, type_: str = "TRANSFER"
) -> str:
    """Try a transfer, and return why it is refused; nothing if it is posted."""
    (result,) = await client.post(wallets.transfer(debit, credit, amount, type_=type_))
    return result.error.reason
