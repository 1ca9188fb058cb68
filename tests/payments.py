"""payments_service as tests use it: in this process, with the real SDK against the sandbox and a real ledger."""

import asyncio
import contextlib
import dataclasses
import itertools
import json
import socket
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import grpc
import httpx
import jwt
import psycopg
import stripe
import uvicorn

from deploy.local import postgres
from deploy.sandbox import server as sandbox_server
from deploy.sandbox.settings import Settings as SandboxSettings
from gateway import app, backends
from kobklein import client as channels
from kobklein import errors
from kobklein.payments.v1 import payments_pb2, payments_pb2_grpc
from kobklein.settings import AuthSettings, RateSettings
from kobklein.wallets.v1 import ledger_pb2
from payments_service import server
from payments_service.settings import Settings
from tests import databases, gateways, wallets

WEBHOOK_SECRET: Final = "whsec_tests"
_SERVICE_KEY: Final = {
    "kty": "oct",
    "k": jwt.utils.base64url_encode(wallets.SECRET.encode()).decode(),
    "alg": "HS256",
}
_PLENTY: Final = "1000000/second"
_SLOW: Final = 15.0
"""Seconds after which a condition that has not come true never will."""
FINAL: Final = frozenset(
    {
        payments_pb2.PAYMENT_STATUS_COMPLETED,
        payments_pb2.PAYMENT_STATUS_FAILED,
        payments_pb2.PAYMENT_STATUS_CANCELLED,
        payments_pb2.PAYMENT_STATUS_REFUNDED,
    }
)
QUICK: Final = {
    "provider_schedule": (0.2, 0.2, 0.4),
    "ledger_schedule": (0.1,),
    "refusal_schedule": (0.1,),
    "poll_seconds": 0.1,
    "provider_seconds": 5.0,
    "lease_seconds": 6.0,
}
"""A money path that asks again soon."""

UNLIMITED: Final = {"least": 1000, "most": 1000, "queue_seconds": 600.0}
"""Admits all calls of a test, however slow the machine is."""


def settings(database: databases.Database, folder: Path, **changes: Any) -> Settings:
    """Return settings for a service on this database, as its application role."""
    key_file = folder / "key.json"
    key_file.write_text(json.dumps(_SERVICE_KEY))
    stripe_changes = changes.pop("stripe", {})
    path_changes = changes.pop("money_path", {})
    return Settings(
        **{
            "auth": AuthSettings(hs256_secret=wallets.SECRET),  # type: ignore[arg-type]  # pydantic makes the secret
            "rates": RateSettings(read=_PLENTY, write=_PLENTY, payment=_PLENTY, report=_PLENTY),
            "database_url": database.application_url,
            "page_token_key": "00" * 32,
            "drain_seconds": 2.0,
            "reflection": False,
            "currencies": wallets.CURRENCIES,
            "service_key_file": key_file,
            "wallets_target": "127.0.0.1:1",
            "stripe": {
                "secret_key": "sk_test_sandbox",
                "webhook_secrets": (WEBHOOK_SECRET,),
                "return_url": "https://app.test/paid",
                **stripe_changes,
            },
            "money_path": {**QUICK, **path_changes},
            "admission": UNLIMITED,
            **changes,
        }
    )


@dataclasses.dataclass(frozen=True)
class Client:
    """A running payments_service and what stands around it."""

    stub: Any
    sandbox: httpx.AsyncClient
    wallets: wallets.Client
    database: databases.Database
    target: str
    """Where the service listens."""
    user: str = "ana"
    """Who calls, unless another user is named."""

    async def process(
        self, *, user: str = "", key: str | None = None, card: str = "pm_card_visa", **fields: Any
    ) -> payments_pb2.Payment:
        """Pay by card."""
        request = payments_pb2.ProcessStripePaymentRequest(
            **{"amount": 10_000, "currency": "USD", "payment_method_id": card, **fields}
        )
        return await self.stub.ProcessStripePayment(
            request, metadata=by(user or self.user, key=key or str(uuid.uuid4()))
        )

    async def create(self, *, user: str = "", **fields: Any) -> payments_pb2.Payment:
        """Record a payment."""
        request = payments_pb2.CreatePaymentRequest(
            **{"amount": 10_000, "currency": "USD", "method": payments_pb2.PAYMENT_METHOD_STRIPE, **fields}
        )
        return await self.stub.CreatePayment(request, metadata=by(user or self.user, key=str(uuid.uuid4())))

    async def confirm(
        self, payment: payments_pb2.Payment, *, card: str = "", user: str = "", key: str = ""
    ) -> payments_pb2.Payment:
        """Confirm a payment."""
        request = payments_pb2.ConfirmPaymentRequest(id=payment.id, payment_method_id=card)
        return await self.stub.ConfirmPayment(request, metadata=by(user or self.user, key=key))

    async def get(self, payment: payments_pb2.Payment, *, user: str = "") -> payments_pb2.Payment:
        """Get a payment."""
        return await self.stub.GetPayment(payments_pb2.GetPaymentRequest(id=payment.id), metadata=by(user or self.user))

    async def update(
        self, payment: payments_pb2.Payment, *paths: str, metadata: Any = None, etag: str = "", **fields: Any
    ) -> payments_pb2.Payment:
        """Update a payment, as its owner unless `metadata` says who."""
        request = payments_pb2.UpdatePaymentRequest(
            id=payment.id, payment=payments_pb2.Payment(**fields), update_mask={"paths": paths}, etag=etag
        )
        return await self.stub.UpdatePayment(request, metadata=metadata or by(self.user))

    async def until(
        self, payment: payments_pb2.Payment, reached: Callable[[payments_pb2.Payment], bool]
    ) -> payments_pb2.Payment:
        """Return a payment once `reached` holds for it."""
        request = payments_pb2.WatchPaymentRequest(id=payment.id)
        async with asyncio.timeout(_SLOW):
            async for seen in self.stub.WatchPayment(request, metadata=AS_ADMIN):
                if reached(seen):
                    return seen
        raise AssertionError(f"ended as {seen}")

    async def unresolved(self, call: Awaitable[payments_pb2.Payment]) -> payments_pb2.Payment:
        """Expect that a call is refused since nobody knows what the provider did; return the payment that it names."""
        try:
            answer = await call
        except grpc.aio.AioRpcError as error:
            status = errors.from_rpc_error(error)
            assert (status.code, status.reason) == (grpc.StatusCode.UNAVAILABLE, "PROVIDER_UNAVAILABLE"), status
            assert (status.http_status, status.retry_after_seconds) == (503, 5.0)
            payment_id = status.metadata["payment_id"]
            assert payment_id in status.message
            return await self.stub.GetPayment(payments_pb2.GetPaymentRequest(id=payment_id), metadata=AS_ADMIN)
        raise AssertionError(f"not refused: {answer}")

    async def hits(self) -> int:
        """Return how many requests the armed faults have struck."""
        answer = await self.sandbox.get("/_sandbox/faults")
        return sum(fault["hits"] for fault in answer.json()["faults"])

    async def mend(self) -> None:
        """Disarm every fault of the sandbox."""
        await self.sandbox.delete("/_sandbox/faults")

    async def ended(self, payment: payments_pb2.Payment) -> payments_pb2.Payment:
        """Return a payment that has reached its end."""
        return await self.until(payment, lambda seen: seen.status in FINAL)

    async def balance(self, *, currency: str = "USD") -> int:
        """Return what the ledger says a user has."""
        accounts = await self.wallets.ledger.ListAccounts(
            ledger_pb2.ListAccountsRequest(address_prefix=f"user/{self.user}", currency=currency),
            metadata=wallets.AS_SERVICE,
        )
        return sum(account.balance for account in accounts.accounts)

    async def control(self, path: str, /, **body: Any) -> Any:
        """Use one of the sandbox's controls."""
        answer = await self.sandbox.post(f"/_sandbox{path}", json=body)
        assert answer.is_success, answer.text
        return answer.json()

    async def fault(self, kind: str, *, path: str = "/v1/payment_intents", **rule: Any) -> None:
        """Arm a fault of the sandbox."""
        await self.control("/faults", kind=kind, path=path, **rule)

    async def captured(self, payment_id: str | None = None) -> list[int]:
        """Return the amounts that the provider collected, in its own ledger, of all payments or of one."""
        answer = await self.sandbox.get("/v1/payment_intents", params={"limit": 100}, headers=_KEY)
        return [
            intent["amount_received"]
            for intent in answer.json()["data"]
            if intent["status"] == "succeeded" and payment_id in (None, intent["metadata"].get("payment_id"))
        ]

    async def intents(self) -> list[dict[str, Any]]:
        """Return every intent that the provider holds."""
        answer = await self.sandbox.get("/v1/payment_intents", params={"limit": 100}, headers=_KEY)
        found: list[dict[str, Any]] = answer.json()["data"]
        return found

    async def receive(self, body: bytes, signature: str | None = None) -> payments_pb2.ReceiveWebhookResponse:
        """Deliver a webhook, with a good signature unless another one is given."""
        header = signed(body) if signature is None else signature
        request = payments_pb2.ReceiveWebhookRequest(provider="stripe", payload=body, signature=header)
        return await self.stub.ReceiveWebhook(request)

    async def until_row(self, query: str, *parameters: Any) -> None:
        """Wait until a query finds a row."""
        async with asyncio.timeout(_SLOW):
            while not await self.rows(query, *parameters):  # noqa: ASYNC110  # rows of another session set no event
                await asyncio.sleep(0.02)

    async def rows(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Look behind the scenes."""
        async with await psycopg.AsyncConnection.connect(self.database.superuser_url) as connection:
            cursor = await connection.execute(query, parameters)  # type: ignore[arg-type]  # a query of the tests
            return await cursor.fetchall() if cursor.description else []


def channel(client: Client) -> grpc.aio.Channel:
    """Return a channel of its own to the service, for the stubs that a client does not have."""
    return grpc.aio.insecure_channel(client.target)


_KEY: Final = {"Authorization": "Bearer sk_test_sandbox"}


def by(user: str, *roles: str, key: str = "") -> tuple[tuple[str, str], ...]:
    """Return the metadata of a call by a user."""
    return wallets.metadata(user, *(roles or ("user",)), key=key)


AS_ADMIN: Final = by("root", "admin")


def signed(body: bytes, *, secret: str = WEBHOOK_SECRET, time: int | None = None) -> str:
    """Return a signature header as Stripe makes it."""
    return str(stripe.WebhookSignature.generate_signature_header(body.decode(), secret, time))


@contextlib.asynccontextmanager
async def refused(reason: str, *, field: str = "", said: str = "") -> AsyncIterator[None]:
    """Expect that the call in the body is refused for this reason, naming this field, with this message."""
    try:
        yield
    except grpc.aio.AioRpcError as error:
        status = errors.from_rpc_error(error)
        assert status.reason == reason, status
        assert said in ("", status.message), status
        assert not field or field in [violation.field for violation in status.violations], status
        return
    raise AssertionError(f"not refused with {reason}")


@contextlib.asynccontextmanager
async def gateway(target: str) -> AsyncIterator[httpx.AsyncClient]:
    """Run a gateway in front of the service at `target`, and yield a client of it."""
    configured = gateways.settings(auth={"hs256_secret": wallets.SECRET})
    async with channels.channel(target, None) as channel:
        application = app.create(configured, [backends.of_package("payments", "kobklein.payments", channel)])
        async with gateways.running(application, configured) as front:
            yield front.http


@contextlib.asynccontextmanager
async def running(
    database: databases.Database,
    wallets_database: databases.Database,
    folder: Path,
    *,
    webhooks: bool = True,
    **changes: Any,
) -> AsyncIterator[Client]:
    """Run sandbox, wallets and payments; with `webhooks`, events reach the service."""
    async with contextlib.AsyncExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=200))
        hook_url = f"http://127.0.0.1:{listener.getsockname()[1]}/" if webhooks else None
        sandbox_url = await stack.enter_async_context(
            sandbox_server.serve(
                SandboxSettings(webhook_url=hook_url, webhook_secret=WEBHOOK_SECRET, webhook_backoff_seconds=0.1)
            )
        )
        ledger = await stack.enter_async_context(wallets.running(wallets_database))
        wallets_target = changes.pop("wallets_target", f"127.0.0.1:{ledger.port}")
        own = settings(
            database,
            folder,
            wallets_target=wallets_target,
            stripe={"api_base": sandbox_url, **changes.pop("stripe", {})},
            **changes,
        )
        port = await stack.enter_async_context(server.run(own))
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(target := f"127.0.0.1:{port}"))
        stub = payments_pb2_grpc.PaymentsServiceStub(channel)
        if webhooks:
            await stack.enter_async_context(_hook(stub, listener))
        sandbox = await stack.enter_async_context(httpx.AsyncClient(base_url=sandbox_url, trust_env=False, timeout=30))
        yield Client(stub, sandbox, ledger, database, target)


@contextlib.asynccontextmanager
async def shared(
    server_: postgres.Server, templates: tuple[str, str], folder: Path, **changes: Any
) -> AsyncIterator[Callable[[], Awaitable[Client]]]:
    """Run everything once for many tests; what is yielded empties it, and returns a client with a user of its own."""
    numbers = itertools.count(1)
    with (
        contextlib.contextmanager(databases.copy)(server_, "payments_service", of=templates[0]) as database,
        contextlib.contextmanager(databases.copy)(server_, "wallets_service", of=templates[1]) as wallets_database,
    ):
        async with running(database, wallets_database, folder, **changes) as client:

            async def fresh() -> Client:
                await client.control("/reset")
                await client.rows(_EMPTY)
                return dataclasses.replace(client, user=f"ana-{next(numbers)}")

            yield fresh


_EMPTY: Final = """
SET session_replication_role = replica;
DELETE FROM payment_changes;
DELETE FROM payments;
DELETE FROM inbox_events;
DELETE FROM idempotency_keys
"""


@contextlib.asynccontextmanager
async def _hook(stub: Any, listener: socket.socket) -> AsyncIterator[None]:
    """Stand in for the gateway: pass webhooks on, byte for byte."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        signature = dict(scope["headers"]).get(b"stripe-signature", b"").decode()
        request = payments_pb2.ReceiveWebhookRequest(provider="stripe", payload=body, signature=signature)
        try:
            await stub.ReceiveWebhook(request)
            status = 200
        except grpc.aio.AioRpcError:
            status = 400
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    web = sandbox_server.Server(uvicorn.Config(application, lifespan="off", log_level="warning", access_log=False))
    task = asyncio.create_task(web.serve(sockets=[listener]))
    await web.ready.wait()
    try:
        yield
    finally:
        web.should_exit = True
        await task
