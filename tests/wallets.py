"""wallets_service as tests use it: in this process, on a database of their own, called over gRPC."""

import asyncio
import contextlib
import dataclasses
import uuid
from collections.abc import AsyncIterator, Awaitable, Iterator
from typing import Any, Final

import grpc
import jwt
import psycopg
import pydantic
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from kobklein import auth, errors
from kobklein.settings import AuthSettings, RateSettings
from kobklein.wallets.v1 import (
    accounts_pb2_grpc,
    conversions_pb2_grpc,
    holds_pb2_grpc,
    ledger_pb2,
    ledger_pb2_grpc,
    statements_pb2_grpc,
    transfers_pb2_grpc,
    wallets_pb2_grpc,
)
from tests import databases, waiting
from wallets_service import server
from wallets_service.settings import Settings

SECRET: Final = "a secret that only the tests know of"
SEAL_KEY: Final = bytes(range(100, 132))
SEAL_PUBLIC_KEY: Final = ed25519.Ed25519PrivateKey.from_private_bytes(SEAL_KEY).public_key().public_bytes_raw()
"""What whoever audits the ledger knows of the key that seals it."""
_KEY: Final = jwt.PyJWK({"kty": "oct", "k": jwt.utils.base64url_encode(SECRET.encode()).decode(), "alg": "HS256"})
_AUTH: Final = AuthSettings(hs256_secret=pydantic.SecretStr(SECRET))
CURRENCIES: Final = ("HTG", "USD", "EUR", "JPY", "KWD", "MGA")
"""More than are offered by default: with no, two and three decimals, and the ariary's fifths."""
_PLENTY: Final = "1000000/second"
_A_DAY: Final = 86_400
"""As long as a token may be good for, so that those of constants outlive any run, `make chaos` included."""


def settings(database: databases.Database, **changes: Any) -> Settings:
    """Return settings for a service on this database, as its application role."""
    return Settings(
        **{
            "auth": _AUTH,
            "rates": RateSettings(read=_PLENTY, write=_PLENTY, payment=_PLENTY, report=_PLENTY),
            "database_url": database.application_url,
            "page_token_key": "00" * 32,
            "seal_key": SEAL_KEY.hex(),
            "seal_seconds": 0.05,
            "drain_seconds": 2.0,
            "reflection": False,
            "currencies": CURRENCIES,
            **changes,
        }
    )


def token(subject: str, *roles: str) -> str:
    """Return an access token."""
    return auth.sign(_KEY, _AUTH, subject=subject, roles=list(roles), lifetime_seconds=_A_DAY)


def metadata(subject: str, *roles: str, key: str = "") -> tuple[tuple[str, str], ...]:
    """Return the metadata of a call by this caller, with an idempotency key if one is given."""
    caller = (("authorization", f"Bearer {token(subject, *roles)}"),)
    return (*caller, ("idempotency-key", key)) if key else caller


@dataclasses.dataclass(frozen=True)
class Client:
    """The services of a running wallets_service, called as another service."""

    port: int
    channel: grpc.aio.Channel

    @property
    def ledger(self) -> Any:
        """The ledger's stub."""
        return ledger_pb2_grpc.LedgerServiceStub(self.channel)

    @property
    def wallets(self) -> Any:
        """The wallets' stub."""
        return wallets_pb2_grpc.WalletsServiceStub(self.channel)

    @property
    def statements(self) -> Any:
        """The statements' stub."""
        return statements_pb2_grpc.StatementsServiceStub(self.channel)

    @property
    def holds(self) -> Any:
        """The holds' stub."""
        return holds_pb2_grpc.HoldsServiceStub(self.channel)

    @property
    def accounts(self) -> Any:
        """The stub of what is set on accounts."""
        return accounts_pb2_grpc.AccountsServiceStub(self.channel)

    @property
    def transfers(self) -> Any:
        """The stub of transfers."""
        return transfers_pb2_grpc.TransfersServiceStub(self.channel)

    @property
    def conversions(self) -> Any:
        """The stub of conversions."""
        return conversions_pb2_grpc.ConversionsServiceStub(self.channel)

    async def post(self, *transfers: ledger_pb2.Transfer) -> list[ledger_pb2.TransferResult]:
        """Post transfers in one call."""
        answer = await self.ledger.PostTransfers(
            ledger_pb2.PostTransfersRequest(transfers=transfers), metadata=AS_SERVICE
        )
        return list(answer.results)

    async def fund(self, user: str, amount: int, currency: str = "HTG") -> ledger_pb2.TransferResult:
        """Deposit money into a user's wallet."""
        (result,) = await self.post(transfer("provider/stripe", f"user/{user}", amount, currency, type_="DEPOSIT"))
        assert result.HasField("transfer"), result
        return result

    async def account(self, address: str, currency: str = "HTG") -> ledger_pb2.Account:
        """Return an account."""
        request = ledger_pb2.GetAccountRequest(address=address, currency=currency)
        account: ledger_pb2.Account = await self.ledger.GetAccount(request, metadata=AS_SERVICE)
        return account

    async def sealed(self, count: int) -> ledger_pb2.LedgerHead:
        """Return the head of the ledger once so many transfers are sealed."""
        request = ledger_pb2.GetLedgerHeadRequest()
        async with waiting.patience(f"{count} transfers are sealed"):
            while True:
                head: ledger_pb2.LedgerHead = await self.ledger.GetLedgerHead(request, metadata=AS_SERVICE)
                if head.sequence >= count:
                    return head
                await asyncio.sleep(0.05)

    async def verify(self, head: ledger_pb2.LedgerHead | None = None) -> ledger_pb2.LedgerReport:
        """Return what a verification of the whole ledger finds."""
        request = ledger_pb2.VerifyLedgerRequest(head=head)
        report: ledger_pb2.LedgerReport = await self.ledger.VerifyLedger(request, metadata=AS_SERVICE)
        return report


AS_SERVICE: Final = metadata("payments_service", "service")


def transfer(
    debit: str, credit: str, amount: int, currency: str = "HTG", *, type_: str = "TRANSFER", **fields: Any
) -> ledger_pb2.Transfer:
    """Return a transfer with a new id."""
    return ledger_pb2.Transfer(
        **{
            "id": str(uuid.uuid4()),
            "debit_account": debit,
            "credit_account": credit,
            "amount": amount,
            "currency": currency,
            "type": ledger_pb2.TransferType.Value(f"TRANSFER_TYPE_{type_}"),
            **fields,
        }
    )


def channel(port: int) -> grpc.aio.Channel:
    """Return a channel to a service on this machine."""
    return grpc.aio.insecure_channel(f"127.0.0.1:{port}")


@contextlib.contextmanager
def slow_commits(database: databases.Database, *, seconds: int) -> Iterator[None]:
    """Let every batch that begins meanwhile last so long after it was decided."""
    with psycopg.connect(database.superuser_url, autocommit=True) as connection:
        connection.execute(
            "CREATE FUNCTION last_long() RETURNS trigger LANGUAGE plpgsql AS"
            f" $$ BEGIN PERFORM pg_sleep({seconds}); RETURN NULL; END $$"
        )
        connection.execute(
            "CREATE TRIGGER last_long AFTER UPDATE ON accounts FOR EACH STATEMENT EXECUTE FUNCTION last_long()"
        )
        yield
        connection.execute("DROP FUNCTION last_long CASCADE")


async def refused(call: Awaitable[Any]) -> errors.Status:
    """Return how the service refuses a call."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return errors.from_rpc_error(caught.value)


@contextlib.asynccontextmanager
async def running(database: databases.Database, **changes: Any) -> AsyncIterator[Client]:
    """Run the service and yield a client of it."""
    async with (
        server.run(settings(database, **changes)) as port,
        channel(port) as open_channel,
    ):
        yield Client(port, open_channel)


async def until_waiting(database: databases.Database, event: str) -> None:
    """Return once a connection to the database waits for an event of this type or name."""
    look = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND %s IN (wait_event, wait_event_type)"
    async with (
        waiting.patience(f"a connection waits for {event}"),
        await psycopg.AsyncConnection.connect(database.superuser_url, autocommit=True) as connection,
    ):
        while not (await connection.execute(look, (event,))).rowcount:
            pass  # Each look lets the others go on.
