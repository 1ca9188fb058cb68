"""How a gRPC service runs: listening, health, reflection, and leaving without dropping a call."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Final

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from kobklein import auth, contract, interceptor, metrics, ratelimits
from kobklein.settings import ServiceSettings, TlsSettings

_log = structlog.get_logger()
_PROBE_SECONDS: Final = 2.0
LONGEST_REQUEST_BYTES: Final = 1024 * 1024
"""Longest request of a service that does not need more: a webhook of 512 KiB, or 64 KiB of JSON as a message."""
_CALLS_IN_ALL: Final = 10
"""gRPC itself refuses calls beyond so many times `concurrent_calls`: of all kinds, health checks included."""
_WAITING_CALLS: Final = 4_000
"""Calls that have arrived and are not begun, from which on gRPC cancels some; beyond twice as many, all.

Its default of 1,000 is less than a burst of one busy caller, whose calls then end as CANCELLED instead of refused.
"""

AddServicers = Callable[[grpc.aio.Server], None]


@contextlib.asynccontextmanager
async def running(
    services: Sequence[str],
    add_servicers: AddServicers,
    settings: ServiceSettings,
    *,
    probe: Callable[[], Awaitable[None]],
    longest_request_bytes: int = LONGEST_REQUEST_BYTES,
) -> AsyncIterator[int]:
    """Serve the named services of the contract, and yield the port.

    `probe` raises while the service cannot work (its database is away); health then says NOT_SERVING. On leaving,
    health says so first, and running calls get `drain_seconds` to end.
    """
    server = grpc.aio.server(
        interceptors=[
            interceptor.Interceptor(
                contract.methods(services),
                verifier=auth.Verifier(settings.auth),
                limiter=ratelimits.RateLimiter(settings.rates, scope=f"{services[0]} "),
                settings=settings,
            )
        ],
        maximum_concurrent_rpcs=_CALLS_IN_ALL * settings.concurrent_calls,
        options=[
            ("grpc.max_receive_message_length", longest_request_bytes),
            ("grpc.so_reuseport", 0),
            ("grpc.server.max_pending_requests", _WAITING_CALLS),
            ("grpc.server.max_pending_requests_hard_limit", 2 * _WAITING_CALLS),
        ],
    )
    _find_methods_by_name(server)
    add_servicers(server)
    health_servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(health_servicer, server)
    if settings.reflection:
        reflection.enable_server_reflection([*services, health.SERVICE_NAME, reflection.SERVICE_NAME], server)
    port = _listen(server, f"{settings.host}:{settings.port}", settings.tls)
    await server.start()
    _log.info("serving", port=port)
    async with repeating(lambda: _check_health(health_servicer, services, probe), seconds=_PROBE_SECONDS):
        try:
            yield port
        finally:
            await health_servicer.enter_graceful_shutdown()
            await server.stop(settings.drain_seconds)
    _log.info("stopped")


@contextlib.asynccontextmanager
async def repeating(work: Callable[[], Awaitable[bool | None]], *, seconds: float) -> AsyncIterator[None]:
    """Run `work` again and again while inside, with a pause after each time, unless it returns that more is left to do.

    On leaving, a run comes to its end: cut off, it could leave a half-open connection to the database behind.
    """
    leaving = asyncio.Event()

    async def repeat() -> None:
        while not leaving.is_set():
            if await work():
                continue
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(leaving.wait(), seconds)

    task = asyncio.create_task(repeat())
    try:
        yield
    finally:
        leaving.set()
        await task


async def until_terminated() -> None:
    """Wait for SIGTERM or SIGINT."""
    terminated = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, terminated.set)
    await terminated.wait()


def serve_metrics(settings: ServiceSettings) -> None:
    """Serve the process's metrics where its settings say."""
    metrics.serve(settings.metrics_port, host=settings.host)


def _find_methods_by_name(server: grpc.aio.Server) -> None:
    """Leave the server its generic handlers, which are all of them, and take away those registered beside them.

    For each call that comes, the server's loop waits anew for the next call of every registered method, one by one, so
    that each call would cost more the more methods there are.
    """
    server.add_registered_method_handlers = lambda *_: None  # type: ignore[method-assign]


def _listen(server: grpc.aio.Server, address: str, tls: TlsSettings | None) -> int:
    if tls is None:
        return server.add_insecure_port(address)
    credentials = grpc.ssl_server_credentials(
        [(tls.key_file.read_bytes(), tls.certificate_file.read_bytes())],
        root_certificates=tls.authority_file.read_bytes(),
        require_client_auth=True,
    )
    return server.add_secure_port(address, credentials)


async def _check_health(servicer: Any, services: Sequence[str], probe: Callable[[], Awaitable[None]]) -> None:
    try:
        async with asyncio.timeout(_PROBE_SECONDS):
            await probe()
        status = health_pb2.HealthCheckResponse.SERVING
    except Exception as error:  # Whatever is wrong, the service is not ready.
        _log.warning("not ready", error=repr(error))
        status = health_pb2.HealthCheckResponse.NOT_SERVING
    for service in ("", *services):
        await servicer.set(service, status)
