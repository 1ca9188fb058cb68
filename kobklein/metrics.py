"""Prometheus metrics that every service has, and the port they are read from."""

import functools
from typing import Final

import prometheus_client

CALLS: Final = prometheus_client.Counter("grpc_server_handled", "Calls answered.", ["method", "code"])
SECONDS: Final = prometheus_client.Histogram(
    "grpc_server_handling_seconds",
    "Time from a call's arrival to its answer.",
    ["method"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
RUNNING: Final = prometheus_client.Gauge("grpc_server_running", "Calls being served.")


@functools.cache
def calls(method: str, code: str) -> prometheus_client.Counter:
    """Return the counter of a method's calls with this outcome; there are few of both."""
    return CALLS.labels(method, code)


@functools.cache
def seconds(method: str) -> prometheus_client.Histogram:
    """Return the times of a method's calls."""
    return SECONDS.labels(method)


def serve(port: int | None, *, host: str) -> None:
    """Serve the metrics over HTTP on `port`; not at all when it is None."""
    if port is not None:
        prometheus_client.start_http_server(port, addr=host)
