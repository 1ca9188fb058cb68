"""Floods: slow webhooks, idle connections and refused calls cost the address that they come from, and no other."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2
from grpc_status import rpc_status

from gateway import backends, callers, exchanges, operations
from kobklein import auth, errors, ratelimits
from kobklein.payments.v1 import payments_pb2 as pb
from kobklein.payments.v1 import payments_pb2_grpc
from tests import gateways
from tests.gateways import Gallery, Gateway
from tests.sizes import size

ATTACKER, PROVIDER = "127.0.0.9", "127.0.0.2"
ID = "0198c5b0-7d2a-7c3e-9f61-2b8f4d1c9a10"
WEBHOOK = "/payments/stripe/webhook"
GOOD = "good"
ATTACKS = size(40, 1000)


class Payments(payments_pb2_grpc.PaymentsServiceServicer):
    """Finds one payment, and takes webhooks whose signature is good."""

    async def GetPayment(self, request: Any, context: Any) -> pb.Payment:
        if request.id != ID:
            await context.abort_with_status(rpc_status.to_status(errors.to_status(NotFound())))
        return pb.Payment(id=ID)

    async def ReceiveWebhook(self, request: Any, context: Any) -> pb.ReceiveWebhookResponse:
        if GOOD not in request.signature:
            await context.abort_with_status(rpc_status.to_status(errors.to_status(errors.InvalidArgument())))
        return pb.ReceiveWebhookResponse(event_id="evt_1")

    def add_to(self, served: Any) -> None:
        """Serve this."""
        payments_pb2_grpc.add_PaymentsServiceServicer_to_server(self, served)


class NotFound(errors.Error):
    """There is none."""

    code = grpc.StatusCode.NOT_FOUND
    message = "there is none"


def signature(proof: str = GOOD, *, offset: float = 0) -> dict[str, str]:
    return {"stripe-signature": f"t={int(time.time() + offset)},v1={proof}"}


def slow_webhook() -> bytes:
    stamp = signature()["stripe-signature"]
    return f"POST {WEBHOOK} HTTP/1.1\r\nhost: x\r\nstripe-signature: {stamp}\r\ncontent-length: 1000\r\n\r\nx".encode()


@contextlib.asynccontextmanager
async def client(gateway: Gateway, address: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client at another address of this machine."""
    transport = httpx.AsyncHTTPTransport(local_address=address)
    base_url = f"http://127.0.0.1:{gateway.port}"
    async with httpx.AsyncClient(transport=transport, base_url=base_url) as http:
        yield http


@contextlib.asynccontextmanager
async def connections(gateway: Gateway, count: int, raw: bytes) -> AsyncIterator[list[asyncio.StreamReader]]:
    """Connections of the attacker that stay open once they have sent something."""
    opened = [await asyncio.open_connection("127.0.0.1", gateway.port, local_addr=(ATTACKER, 0)) for _ in range(count)]
    try:
        for _, writer in opened:
            writer.write(raw)
        yield [reader for reader, _ in opened]
    finally:
        for _, writer in opened:
            writer.close()


async def refused(readers: list[asyncio.StreamReader], count: int) -> None:
    """Wait until so many connections have been turned away."""
    heads = [asyncio.create_task(reader.readline()) for reader in readers]
    answered: set[bytes] = set()
    for head in asyncio.as_completed(heads, timeout=60):
        answered.add(await head)
        count -= 1
        if count == 0:
            break
    for head in heads:
        head.cancel()
    assert answered == {b"HTTP/1.1 503 Service Unavailable\r\n"}


@pytest.mark.chaos
async def test_slow_webhooks_take_no_place_but_a_few_of_webhooks() -> None:
    limits = {"most_webhooks": 6, "most_webhooks_per_address": 4, "most_requests": 10, "receive_seconds": 60}
    async with (
        gateways.serving("kobklein.payments", Payments().add_to, **limits) as gateway,
        connections(gateway, ATTACKS, slow_webhook()) as attacking,
        client(gateway, PROVIDER) as provider,
    ):
        await refused(attacking, ATTACKS - 4)
        for path in ("/healthz", "/readyz", f"/payments/{ID}"):
            assert (await gateway.http.get(path)).status_code == 200
        assert (await provider.post(WEBHOOK, content=b"{}", headers=signature())).status_code == 200


async def test_health_takes_no_place_among_the_requests() -> None:
    head = (
        f"POST /v1/paintings HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {gateways.token('user')}\r\n"
        "idempotency-key: k\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n"
    )
    async with (
        gateways.serving("gallery", Gallery().add_to, most_requests=1, receive_seconds=60) as gateway,
        connections(gateway, 1, head.encode()),
    ):
        for _ in range(1000):  # Until the other request is on its way.
            if (answer := await gateway.http.get("/v1/paintings/1")).status_code == 503:
                break
        assert answer.status_code == 503
        for path in ("/healthz", "/readyz"):
            assert (await gateway.http.get(path)).status_code == 200


async def test_the_body_of_a_webhook_has_less_time_than_that_of_a_request() -> None:
    async with gateways.serving(
        "kobklein.payments", Payments().add_to, receive_seconds=60, webhook_seconds=0.1
    ) as gateway:
        answer = await gateways.exchange(gateway.port, slow_webhook())
    assert answer.startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize(
    "stamp", ["t=1", "t=-1", "v1=good", "t=1,t=2", "t=x", "t=" + "9" * 5000, "t=\u0661", "late", "early"]
)
async def test_a_webhook_of_another_time_is_refused_before_its_body_is_read(stamp: str) -> None:
    async with gateways.serving("kobklein.payments", Payments().add_to) as gateway:
        given = {"late": f"t={int(time.time()) - 310}", "early": f"t={int(time.time()) + 310}"}.get(stamp, stamp)
        head = f"POST {WEBHOOK} HTTP/1.1\r\nhost: x\r\nstripe-signature: {given}\r\ncontent-length: 100\r\n\r\n"
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(head.encode())
        assert await asyncio.wait_for(reader.readline(), 5) == b"HTTP/1.1 400 Bad Request\r\n"
        writer.close()


async def test_idle_connections_of_one_address_leave_those_of_others() -> None:
    async with (
        gateways.serving("gallery", Gallery().add_to, most_connections_per_address=5) as gateway,
        connections(gateway, 100, b"") as idle,
        client(gateway, ATTACKER) as attacker,
    ):
        await refused(idle, 30)  # The oldest beyond the limit make room for the newest.
        assert (await attacker.get("/healthz")).status_code == 200
        assert (await attacker.get("/v1/paintings/newest")).status_code == 503
        assert (await gateway.http.get("/v1/paintings/1")).status_code == 200


async def test_health_is_answered_when_every_connection_is_taken() -> None:
    async with (
        gateways.serving("gallery", Gallery().add_to, most_connections=3, receive_seconds=60) as gateway,
        connections(gateway, 100, b"GET /v1"),
    ):
        for path in ("/healthz", "/readyz"):
            assert (await httpx.AsyncClient().get(f"http://127.0.0.1:{gateway.port}{path}")).status_code == 200
        answer = await gateways.exchange(gateway.port, b"GET /v1 HTTP/1.1\r\nhost: x\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 503 ")


async def test_trusted_proxies_may_have_as_many_connections_as_they_need() -> None:
    limits = {"most_connections_per_address": 1, "trusted_proxies": (f"{ATTACKER}/32",)}
    async with (
        gateways.serving("gallery", Gallery().add_to, **limits) as gateway,
        connections(gateway, 3, b""),
        client(gateway, ATTACKER) as proxy,
    ):
        assert (await proxy.get("/v1/paintings/newest")).status_code == 200


def bearer(*roles: str, subject: str) -> dict[str, str]:
    return {"authorization": f"Bearer {gateways.token(*roles, subject=subject)}"}


REFUSED: dict[str, tuple[int, str, str, dict[str, str]]] = {
    "no token": (401, "GET", f"/payments/{ID}", {}),
    "a forged token": (401, "GET", f"/payments/{ID}", {"authorization": "Bearer " + "e" * 500}),
    "another role": (403, "GET", "/payments/analytics", bearer("user", subject="user-9")),
    "an unknown path": (404, "GET", "/unknown", {}),
    "an unknown payment": (404, "GET", f"/payments/{ID[:-1]}1", bearer("user", subject="user-9")),
    "another method": (405, "PUT", f"/payments/{ID}", {}),
    "an unproved webhook": (400, "POST", WEBHOOK, signature("forged")),
    "a webhook of long ago": (400, "POST", WEBHOOK, {"stripe-signature": "t=1,v1=good"}),
}


@pytest.mark.parametrize("kind", REFUSED)
async def test_refused_calls_of_an_address_are_limited_and_no_others(kind: str) -> None:
    status, method, path, headers = REFUSED[kind]
    body, rates = b"{}" if method == "POST" else b"", {"failures": "3/minute"}
    async with (
        gateways.serving("kobklein.payments", Payments().add_to, rates=rates) as gateway,
        client(gateway, ATTACKER) as attacker,
        client(gateway, PROVIDER) as other,
    ):
        known = bearer("user", subject="known")
        assert (await attacker.get(f"/payments/{ID}", headers=known)).status_code == 200
        answers = [await attacker.request(method, path, headers=headers, content=body) for _ in range(5)]
        assert [answer.status_code for answer in answers] == [status, status, status, 429, 429]
        assert all(1 <= int(answer.headers["retry-after"]) <= 61 for answer in answers[3:])
        assert (await attacker.get(f"/payments/{ID}", headers=known)).status_code == 200
        assert (await attacker.post(WEBHOOK, content=b"{}", headers=signature())).status_code == 200
        unknown = bearer("user", subject="unknown")
        assert (await attacker.get(f"/payments/{ID}", headers=unknown)).status_code == 429
        assert (await other.request(method, path, headers=headers, content=body)).status_code == status
        assert (await other.get(f"/payments/{ID}", headers=unknown)).status_code == 200


class Proofs(auth.Verifier):
    """Counts the tokens that had to be proved."""

    def __init__(self) -> None:
        self.proved = 0

    def knows(self, token: str) -> bool:
        return False

    def verify(self, token: str) -> auth.Caller:
        self.proved += 1
        raise errors.Unauthenticated


async def test_forged_tokens_are_not_proved_once_their_address_has_failed_too_often() -> None:
    settings = gateways.settings(rates={"failures": "3/minute"})
    failures, proofs = callers.Failures(settings), Proofs()
    access = callers.AccessControl(proofs, ratelimits.RateLimiter(settings.rates), failures)
    method = backends.methods_of("kobklein.payments")["/kobklein.payments.v1.PaymentsService/GetPayment"]
    headers = [(b"authorization", b"Bearer forged")]
    for number in range(10):
        scope = {"type": "http", "headers": headers}
        client = f"2001:db8::{number}"  # All of one network, which counts as one address.
        exchange = exchanges.begin(scope, unused, unused, client=client)
        with pytest.raises((errors.Unauthenticated, errors.RateLimited)):
            await access.admit(method, exchange)
        with contextlib.suppress(errors.RateLimited):
            await failures.count(exchange, 401)
    assert proofs.proved == 3


async def unused(*_: object) -> Any:
    raise AssertionError("nothing is received or sent")


async def test_calls_without_a_token_that_need_none_have_the_budget_of_their_address() -> None:
    async with (
        gateways.serving("gallery", Gallery().add_to, rates={"read": "2/minute"}) as gateway,
        client(gateway, ATTACKER) as one,
        client(gateway, PROVIDER) as other,
    ):
        statuses = [(await one.get("/v1/paintings/newest")).status_code for _ in range(3)]
        assert statuses == [200, 200, 429]
        assert (await other.get("/v1/paintings/newest")).status_code == 200


class Channel:
    """A channel to a service that says it is well, once it is let."""

    def __init__(self) -> None:
        self.asked = 0
        self.reached, self.let = asyncio.Event(), asyncio.Event()

    def unary_unary(self, *_: object, **__: object) -> Any:
        async def check(*_: object, **__: object) -> health_pb2.HealthCheckResponse:
            self.asked += 1
            self.reached.set()
            await self.let.wait()
            return health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING)

        return check

    unary_stream = unary_unary


async def test_many_who_ask_whether_it_is_ready_ask_the_services_once() -> None:
    channel: Any = Channel()
    probe = operations.Probe([backends.Backend("gallery", channel, {})])
    asking = [asyncio.create_task(probe()) for _ in range(50)]
    await asyncio.wait_for(channel.reached.wait(), 5)
    asking[0].cancel()  # One of them leaves.
    channel.let.set()
    assert [await one for one in asking[1:]] == [{"gallery": "SERVING"}] * 49
    assert channel.asked == 1
    assert (await probe(), channel.asked) == ({"gallery": "SERVING"}, 2)
