"""Prometheus metrics of the edge."""

import functools
from typing import Final

import prometheus_client

_METHODS: Final = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))

REQUESTS: Final = prometheus_client.Counter("gateway_requests", "Requests answered.", ["route", "method", "status"])
SECONDS: Final = prometheus_client.Histogram(
    "gateway_request_seconds",
    "Time from a request's head to the end of its answer.",
    ["route", "method"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
RUNNING: Final = prometheus_client.Gauge("gateway_requests_running", "Requests being answered.")
PAYMENTS_LIMIT: Final = prometheus_client.Gauge(
    "gateway_payments_limit", "How many card payments may be under way at a time."
)
PAYMENTS_REFUSED: Final = prometheus_client.Counter(
    "gateway_payments_refused", "Card payments refused here since as many were under way as may be."
)


def record(*, route: str, method: str, status: int, seconds: float) -> None:
    """Count one request; what a client can make up freely is no label."""
    known = method if method in _METHODS else "OTHER"
    _counter(route or "unknown", known, status).inc()
    _histogram(route or "unknown", known).observe(seconds)


@functools.lru_cache(maxsize=4096)
def _counter(route: str, method: str, status: int) -> prometheus_client.Counter:
    return REQUESTS.labels(route, method, status)


@functools.lru_cache(maxsize=1024)
def _histogram(route: str, method: str) -> prometheus_client.Histogram:
    return SECONDS.labels(route, method)
