"""Prometheus metrics of this service; the gauges are read from the database now and then."""

from typing import Final

import prometheus_client

STEPS: Final = prometheus_client.Counter("payments_steps", "Steps taken, by their outcome.", ["step", "outcome"])
SETTLED: Final = prometheus_client.Counter("payments_settled", "Payments whose wallet has been credited.")
SETTLEMENT_REFUSED: Final = prometheus_client.Counter(
    "payments_settlement_refused", "Deposits that the ledger refused; they are tried again.", ["reason"]
)
EVENTS: Final = prometheus_client.Counter("payments_events", "Webhooks received, by what became of them.", ["outcome"])
EVENTS_UNAPPLIED: Final = prometheus_client.Counter(
    "payments_events_unapplied", "Webhooks that move money and are not applied here.", ["type"]
)
BY_STATUS: Final = prometheus_client.Gauge("payments_count", "Payments in each status.", ["status"])
OVERDUE_SECONDS: Final = prometheus_client.Gauge(
    "payments_overdue_seconds", "For how long the oldest due step has been waiting.", ["step"]
)
INBOX_WAITING: Final = prometheus_client.Gauge("payments_inbox_waiting", "Webhooks that are not applied yet.")
INBOX_OVERDUE_SECONDS: Final = prometheus_client.Gauge(
    "payments_inbox_overdue_seconds", "For how long the oldest unapplied webhook has been waiting."
)
ADMITTED: Final = prometheus_client.Counter(
    "payments_admission", "Calls that charge cards, by whether they were admitted.", ["admitted"]
)
ADMISSION_LIMIT: Final = prometheus_client.Gauge(
    "payments_admission_limit", "How many calls that charge cards may be under way."
)
UNDER_WAY: Final = prometheus_client.Gauge(
    "payments_admission_under_way", "How many calls that charge cards are under way."
)
QUEUE_SECONDS: Final = prometheus_client.Histogram(
    "payments_admission_queue_seconds",
    "Time from the admission of a call that charges a card until it is recorded.",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1, 2, 5),
)
