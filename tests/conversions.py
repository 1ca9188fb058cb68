"""Conversions, as tests ask for them: between USD and HTG, for Ana, unless they say otherwise."""

import uuid
from typing import Any, Final

import psycopg

from kobklein.wallets.v1 import conversions_pb2 as pb
from kobklein.wallets.v1 import ledger_pb2
from tests import databases, waiting, wallets

ADMIN: Final = wallets.metadata("root", "admin")
ANA: Final = wallets.metadata("ana", "user")
HTG_PER_USD: Final = "131.25"
SPREAD: Final = 15_000


def rate(sell: str = "USD", buy: str = "HTG", value: str = HTG_PER_USD, spread: int = SPREAD) -> pb.Rate:
    """Return a rate to set."""
    return pb.Rate(sell_currency=sell, buy_currency=buy, rate=value, spread_parts_per_million=spread)


async def until_over(database: databases.Database, quote: pb.Quote) -> None:
    """Return once the database's clock says that a quote's time is over."""
    await waiting.until_over(database, "fx_quotes", quote.id)


async def set_rate(client: wallets.Client, *arguments: Any, reason: str = "by the book") -> pb.Rate:
    """Set a rate; the arguments are those of `rate`."""
    request = pb.SetRateRequest(rate=rate(*arguments), reason=reason)
    answer: pb.Rate = await client.conversions.SetRate(request, metadata=ADMIN)
    return answer


async def quote(
    client: wallets.Client,
    *,
    sell: tuple[int | None, str] = (None, "USD"),
    buy: tuple[int | None, str] = (None, "HTG"),
    user: str = "ana",
    key: str = "",
) -> pb.Quote:
    """Create a quote, as its user, with a new key unless one is given."""
    request = pb.CreateQuoteRequest(
        sell=pb.Money(amount=sell[0], currency=sell[1]), buy=pb.Money(amount=buy[0], currency=buy[1])
    )
    caller = wallets.metadata(user, "user", key=key or str(uuid.uuid4()))
    answer: pb.Quote = await client.conversions.CreateQuote(request, metadata=caller)
    return answer


def kept(answer: pb.Quote) -> pb.Quote:
    """Return a quote as later answers show it, without what the acceptance that is answered has left."""
    shown = pb.Quote()
    shown.CopyFrom(answer)
    for field in ("sell_balance", "buy_balance"):
        shown.ClearField(field)
    return shown


async def accept(client: wallets.Client, id_: str, *, user: str = "ana", role: str = "user", key: str = "") -> pb.Quote:
    """Accept a quote, with a new key unless one is given."""
    caller = wallets.metadata(user, role, key=key or str(uuid.uuid4()))
    answer: pb.Quote = await client.conversions.AcceptQuote(pb.AcceptQuoteRequest(id=id_), metadata=caller)
    return answer


async def get(client: wallets.Client, id_: str, *, caller: Any = ANA) -> pb.Quote:
    """Return a quote."""
    answer: pb.Quote = await client.conversions.GetQuote(pb.GetQuoteRequest(id=id_), metadata=caller)
    return answer


async def balances(client: wallets.Client) -> dict[tuple[str, str], int]:
    """Return the balance of every account but those that money comes from."""
    answer = await client.ledger.ListAccounts(ledger_pb2.ListAccountsRequest(), metadata=wallets.AS_SERVICE)
    return {
        (each.address, each.currency): each.balance
        for each in answer.accounts
        if not each.address.startswith("provider/")
    }


async def until_expired(client: wallets.Client, id_: str) -> None:
    """Wait until the time of a quote is over."""
    while (await get(client, id_)).status != pb.QUOTE_STATUS_EXPIRED:
        pass  # Each look lets the time go on.


async def tamper(database: databases.Database, statement: str) -> None:
    """Change rows as nobody can while the triggers are on."""
    async with await psycopg.AsyncConnection.connect(database.superuser_url) as connection:
        await connection.execute("SET session_replication_role = replica")
        await connection.execute(statement.encode())
