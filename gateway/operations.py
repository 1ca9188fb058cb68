"""For those who run the gateway: is it alive, is it ready, what does it measure."""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

import grpc
import prometheus_client
from fastapi import APIRouter, Response
from grpc_health.v1 import health_pb2, health_pb2_grpc

from gateway import backends, writer

_PROBE_SECONDS: Final = 2.0


def router(services: Sequence[backends.Backend], *, shows_metrics: bool) -> APIRouter:
    """Return the operational routes; none of them is part of the public API."""
    operations = APIRouter(include_in_schema=False)
    probe = Probe(services)

    @operations.get("/healthz")
    async def healthz() -> Response:
        return _json(200, {"status": "alive"})

    @operations.get("/readyz")
    async def readyz() -> Response:
        states = await probe()
        ready = all(state == "SERVING" for state in states.values())
        return _json(200 if ready else 503, {"status": "ready" if ready else "not ready", "services": states})

    if shows_metrics:

        @operations.get("/metrics")
        async def metrics() -> Response:
            return Response(prometheus_client.generate_latest(), media_type=prometheus_client.CONTENT_TYPE_LATEST)

    return operations


class Probe:
    """Asks the services how they are: once at a time, however many want to know."""

    def __init__(self, services: Sequence[backends.Backend]) -> None:
        self._services = services
        self._running: asyncio.Task[dict[str, str]] | None = None

    async def __call__(self) -> dict[str, str]:
        """Return the state of each service."""
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._ask())
        return await asyncio.shield(self._running)

    async def _ask(self) -> dict[str, str]:
        return dict(await asyncio.gather(*map(_state, self._services)))


async def _state(backend: backends.Backend) -> tuple[str, str]:
    """Return what a service says of its health, or that it says nothing."""
    try:
        answer = await health_pb2_grpc.HealthStub(backend.channel).Check(
            health_pb2.HealthCheckRequest(), timeout=_PROBE_SECONDS
        )
    except grpc.aio.AioRpcError as error:
        return backend.name, error.code().name
    return backend.name, health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)


def _json(status: int, value: Any) -> Response:
    return Response(writer.dumps(value), status_code=status, media_type="application/json")
