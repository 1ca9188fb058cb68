"""The servers that the gateway's benchmark compares, each run in a process of its own.

`backend` is the gRPC service behind the others. `transcoded` is the gateway, whose routes come from the contract.
`handwritten` is one route as careful people write it by hand (FastAPI, pydantic models, a generated stub) with the same
duties around it: token, role, budget, request id, safe headers, log line, metrics, connection limits. `naked` is that
route with the check of the token alone, and `bare` a route that answers without any call behind it.
"""

import asyncio
import datetime
import decimal
import sys
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final, Literal

import fastapi
import grpc
import pydantic
import uvicorn
import uvloop
from google.protobuf import json_format
from pydantic import alias_generators

from gateway import callers, exchanges, middleware
from gateway import server as gateway_server
from gateway.settings import Settings
from kobklein import auth, client, contract, errors, logs, money, ratelimits
from kobklein.payments.v1 import payments_pb2 as pb
from kobklein.payments.v1 import payments_pb2_grpc as pb_grpc

SECRET: Final = "0123456789abcdef" * 4
PAYMENT: Final = pb.Payment(
    id="0198c5b0-7d2a-7c3e-9f61-2b8f4d1c9a10",
    user_id="user-1",
    amount=10_000,
    currency="HTG",
    method=pb.PAYMENT_METHOD_STRIPE,
    status=pb.PAYMENT_STATUS_PENDING,
    description="Wallet top-up",
    reference="KP-7Q2M4X9TBC",
    version=1,
    etag="1",
)
PAYMENT.created_time.FromJsonString("2026-01-31T12:00:00Z")
PAYMENT.updated_time.FromJsonString("2026-01-31T12:00:00Z")
_METHODS: Final = contract.methods(["kobklein.payments.v1.PaymentsService"])
_CREATE: Final = "/kobklein.payments.v1.PaymentsService/CreatePayment"


class Backend(pb_grpc.PaymentsServiceServicer):
    """Answers at once, so that only the way to it is measured."""

    async def CreatePayment(self, request: pb.CreatePaymentRequest, context: Any) -> pb.Payment:
        return PAYMENT


class _Camel(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(alias_generator=alias_generators.to_camel, populate_by_name=True, extra="forbid")


class NewPayment(_Camel):
    amount: decimal.Decimal = pydantic.Field(gt=0, max_digits=13)
    currency: str = pydantic.Field(default="HTG", pattern="^[A-Z]{3}$")
    method: Literal["STRIPE", "MONCASH", "NATCASH", "BANK_TRANSFER", "CASH", "WALLET"]
    description: str = pydantic.Field(default="", max_length=500)
    reference: str = pydantic.Field(default="", max_length=64)
    metadata: dict[str, Any] | None = None
    user_id: str = pydantic.Field(default="", max_length=64)


class Payment(_Camel):
    id: str
    user_id: str
    amount: str
    currency: str
    method: str
    status: str
    description: str
    reference: str
    stripe_payment_intent_id: str
    metadata: dict[str, Any] | None
    refunded_amount: str
    capturable_amount: str
    failure_code: str
    failure_message: str
    completed_time: datetime.datetime | None
    created_time: datetime.datetime
    updated_time: datetime.datetime
    version: int
    etag: str


Admit = Callable[[fastapi.Request], Awaitable[str]]
"""Returns the caller's token once the caller may go on."""


def handwritten(stub: pb_grpc.PaymentsServiceStub, admit: Admit) -> fastapi.FastAPI:
    """Return an application with one route over the stub."""
    app = fastapi.FastAPI()

    @app.post("/payments", status_code=201, response_model_exclude_none=True)
    async def create_payment(
        body: NewPayment,
        token: Annotated[str, fastapi.Depends(admit)],
        idempotency_key: Annotated[str, fastapi.Header()],
    ) -> Payment:
        request = pb.CreatePaymentRequest(
            amount=money.parse(str(body.amount), body.currency),
            currency=body.currency,
            method=pb.PaymentMethod.Value(f"PAYMENT_METHOD_{body.method}"),
            description=body.description,
            reference=body.reference,
            user_id=body.user_id,
        )
        if body.metadata is not None:
            json_format.ParseDict(body.metadata, request.metadata)
        carried = (("authorization", token), ("idempotency-key", idempotency_key))
        try:
            return _model(await stub.CreatePayment(request, timeout=10, metadata=carried))
        except grpc.aio.AioRpcError as error:
            status = errors.from_rpc_error(error)
            raise fastapi.HTTPException(status.http_status, status.message) from error

    return app


def by_access_control(settings: Settings) -> Admit:
    """Return the gateway's own admission: token, role, and budget of calls."""
    access = callers.AccessControl(
        auth.Verifier(settings.auth), ratelimits.RateLimiter(settings.rates), callers.Failures(settings)
    )

    async def admit(request: fastapi.Request) -> str:
        await access.admit(_METHODS[_CREATE], exchanges.of(request.scope))
        return request.headers["authorization"]

    return admit


def by_token(settings: Settings) -> Admit:
    """Return the check of token and role alone."""
    verifier = auth.Verifier(settings.auth)

    async def admit(request: fastapi.Request) -> str:
        authorization = request.headers["authorization"]
        auth.check_role(_METHODS[_CREATE], verifier.verify(authorization.removeprefix("Bearer ")))
        return authorization

    return admit


def _model(payment: pb.Payment) -> Payment:
    return Payment(
        id=payment.id,
        user_id=payment.user_id,
        amount=money.render(payment.amount, payment.currency),
        currency=payment.currency,
        method=pb.PaymentMethod.Name(payment.method).removeprefix("PAYMENT_METHOD_"),
        status=pb.PaymentStatus.Name(payment.status).removeprefix("PAYMENT_STATUS_"),
        description=payment.description,
        reference=payment.reference,
        stripe_payment_intent_id=payment.stripe_payment_intent_id,
        metadata=json_format.MessageToDict(payment.metadata) if payment.HasField("metadata") else None,
        refunded_amount=money.render(payment.refunded_amount, payment.currency),
        capturable_amount=money.render(payment.capturable_amount, payment.currency),
        failure_code=payment.failure_code,
        failure_message=payment.failure_message,
        completed_time=_completed_time(payment),
        created_time=payment.created_time.ToDatetime(datetime.UTC),
        updated_time=payment.updated_time.ToDatetime(datetime.UTC),
        version=payment.version,
        etag=payment.etag,
    )


def _completed_time(payment: pb.Payment) -> datetime.datetime | None:
    return payment.completed_time.ToDatetime(datetime.UTC) if payment.HasField("completed_time") else None


def bare() -> fastapi.FastAPI:
    """Return an application that calls nothing: what FastAPI itself takes for such a body."""
    app = fastapi.FastAPI()

    @app.post("/payments", status_code=201)
    async def create_payment(body: NewPayment) -> dict[str, str]:
        return {"id": PAYMENT.id, "currency": body.currency}

    return app


def _settings(target: str) -> Settings:
    return Settings(
        port=0,
        payments_target=target,
        wallets_target=target,
        auth={"hs256_secret": SECRET},  # type: ignore[arg-type]  # pydantic converts
        rates={"write": "1000000/second"},  # type: ignore[arg-type]  # pydantic converts
        log_json=True,
    )


async def _serve_backend(_target: str) -> None:
    server = grpc.aio.server()
    pb_grpc.add_PaymentsServiceServicer_to_server(Backend(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    _announce(port)
    await server.wait_for_termination()


async def _serve_transcoded(target: str) -> None:
    settings = _settings(target)
    async with gateway_server.application(settings) as application:
        await _serve(gateway_server.create(application, settings))


async def _serve_handwritten(target: str) -> None:
    settings = _settings(target)
    async with client.channel(target, None) as channel:
        app = handwritten(pb_grpc.PaymentsServiceStub(channel), by_access_control(settings))
        await _serve(gateway_server.create(middleware.Edge(app, settings), settings))


async def _serve_naked(target: str) -> None:
    settings = _settings(target)
    async with client.channel(target, None) as channel:
        await _serve(_uvicorn(handwritten(pb_grpc.PaymentsServiceStub(channel), by_token(settings))))


async def _serve_bare(_target: str) -> None:
    await _serve(_uvicorn(bare()))


def _uvicorn(app: fastapi.FastAPI) -> gateway_server.Server:
    config = uvicorn.Config(app, port=0, loop="uvloop", http="httptools", access_log=False, log_config=None)
    return gateway_server.Server(config)


async def _serve(server: gateway_server.Server) -> None:
    serving = asyncio.create_task(server.serve())
    await server.listening.wait()
    _announce(server.port)
    await serving


def _announce(port: int) -> None:
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()


SERVERS: Final[dict[str, Callable[[str], Awaitable[None]]]] = {
    "backend": _serve_backend,
    "transcoded": _serve_transcoded,
    "handwritten": _serve_handwritten,
    "naked": _serve_naked,
    "bare": _serve_bare,
}


async def _run(name: str, target: str) -> None:
    await SERVERS[name](target)


if __name__ == "__main__":
    logs.configure(_settings("unused"), process=sys.argv[1])
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(sys.argv[1], sys.argv[2]))
