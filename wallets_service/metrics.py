"""Prometheus metrics of this service. Those of the ledger are set once per batch, or computed when they are read."""

from typing import Final

import prometheus_client

WAITING_TRANSFERS: Final = prometheus_client.Gauge(
    "wallets_ledger_waiting_transfers", "Transfers, holds and releases that wait for a batch to take them."
)
BATCH_TRANSFERS: Final = prometheus_client.Histogram(
    "wallets_ledger_batch_transfers",
    "How many transfers, holds and releases a batch has.",
    buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000),
)
BATCH_SECONDS: Final = prometheus_client.Histogram(
    "wallets_ledger_batch_seconds",
    "Time from the start of a batch until it is durable or given up, repetitions included.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
BATCHES_REPEATED: Final = prometheus_client.Counter(
    "wallets_ledger_batches_repeated", "Repetitions of batches that lost a race, a lock or the database."
)
ACCOUNTS_KEPT: Final = prometheus_client.Counter(
    "wallets_ledger_accounts_kept",
    "Accounts whose calls were turned away for a while, since somebody kept the row locked.",
)
HOLD_SWEEPS_FAILED: Final = prometheus_client.Counter(
    "wallets_hold_sweeps_failed", "Rounds of giving expired holds back that were cut short."
)
HOLD_RELEASES_FAILED: Final = prometheus_client.Counter(
    "wallets_hold_releases_failed", "Accounts whose expired holds a round could not give back."
)
RATE_READS_FAILED: Final = prometheus_client.Counter(
    "wallets_rate_reads_failed", "Readings of the rates on the web that left the last good ones in place."
)
RATE_AGE_SECONDS: Final = prometheus_client.Gauge(
    "wallets_rate_age_seconds", "How old the rates of the web are, by the time in them; infinite until the first."
)
SEALED_TRANSFERS: Final = prometheus_client.Gauge("wallets_sealed_transfers", "Transfers in the chain of seals.")
SEAL_LAG_SECONDS: Final = prometheus_client.Gauge(
    "wallets_seal_lag_seconds", "How old the first unsealed transfer was when a round last looked; 0 without any."
)
SEAL_ROUNDS_FAILED: Final = prometheus_client.Counter(
    "wallets_seal_rounds_failed", "Rounds of sealing that were cut short."
)
