"""Payments and webhooks of earlier revisions after the upgrade."""

import asyncio
import datetime
import uuid
from collections.abc import Iterator
from typing import Any, Final

import psycopg
import pytest

from deploy.local import postgres as embedded
from kobklein import migrations
from tests import databases

_REVISION: Final = "2026_11_24_unknown_outcomes"
_TIME: Final = datetime.datetime(2026, 11, 24, 12, tzinfo=datetime.UTC)
_PAYMENT: Final = uuid.UUID(int=1)


@pytest.fixture
def earlier(postgres: embedded.Server) -> Iterator[databases.Database]:
    """A database as it was before events had states."""
    yield from databases.at_revision(postgres, "payments_service", _REVISION)


async def test_events_of_before_get_their_states_and_money_that_was_ignored_is_listed(
    earlier: databases.Database,
) -> None:
    with psycopg.connect(earlier.application_url) as connection:
        _insert(connection, "payments", _payment(id=_PAYMENT, stripe_payment_intent_id="pi_1"))
        for kind, outcome in (
            ("payment_intent.succeeded", "applied"),
            ("payment_intent.processing", "fetch"),
            ("payment_intent.canceled", "nothing new"),
            ("payment_intent.succeeded", "not ours"),
            ("customer.created", "ignored"),
            ("charge.refunded", "ignored"),
            ("payout.failed", "ignored"),
            ("payment_intent.succeeded", None),
        ):
            _insert(connection, "inbox_events", _event(kind, outcome))
    await asyncio.to_thread(_upgrade, earlier)
    with psycopg.connect(earlier.application_url) as connection:
        rows = connection.execute("SELECT state, payment_id FROM inbox_events ORDER BY sequence").fetchall()
    assert [state for state, _ in rows] == [
        *("APPLIED", "APPLIED", "APPLIED"),
        *("IGNORED", "IGNORED"),
        *("UNAPPLIED", "UNAPPLIED"),
        "RECEIVED",
    ]
    assert [payment_id for _, payment_id in rows] == [None] * 5 + [_PAYMENT] + [None] * 2


async def test_references_of_before_stay_taken_for_their_users_only(earlier: databases.Database) -> None:
    with psycopg.connect(earlier.application_url) as connection:
        _insert(connection, "payments", _payment(user_id="ana", reference="R-1"))
        _insert(connection, "payments", _payment(user_id="ana", reference="R-2", status="FAILED"))
    await asyncio.to_thread(_upgrade, earlier)
    with psycopg.connect(earlier.application_url, autocommit=True) as connection:
        for user, reference in (("ben", "R-1"), ("ana", "R-2")):
            _insert(connection, "payments", _payment(user_id=user, reference=reference))
        with pytest.raises(psycopg.errors.UniqueViolation, match="payments_reference_unique"):
            _insert(connection, "payments", _payment(user_id="ana", reference="R-1"))


def test_the_schema_has_the_indexes_of_payments_by_user_status_method_and_time(
    payments_database: databases.Database,
) -> None:
    with psycopg.connect(payments_database.application_url) as connection:
        rows = connection.execute(
            "SELECT a.attname FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]"
            " WHERE i.indrelid = 'payments'::regclass"
        ).fetchall()
    assert {"user_id", "status", "method", "created_time"} <= {name for (name,) in rows}


def _upgrade(old: databases.Database) -> None:
    migrations.migrate("payments_service", old.owner_url, application_url=old.application_url)


def _payment(**fields: Any) -> dict[str, Any]:
    return {
        "id": uuid.uuid4(),
        "user_id": "ana",
        "amount": 100,
        "currency": "USD",
        "method": "STRIPE",
        "status": "PENDING",
        "description": "",
        "reference": uuid.uuid4().hex,
        "metadata": "{}",
        **fields,
    }


def _event(kind: str, outcome: str | None) -> dict[str, Any]:
    return {
        "provider": "stripe",
        "event_id": f"evt_{uuid.uuid4().hex}",
        "type": kind,
        "object_id": "pi_1" if kind == "charge.refunded" else "pi_2",
        "payload": b"{}",
        "event_time": _TIME,
        "applied_time": None if outcome is None else _TIME,
        "outcome": outcome or "",
    }


def _insert(connection: psycopg.Connection, table: str, row: dict[str, Any]) -> None:
    values = ", ".join(f"%({column})s" for column in row)
    connection.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({values})", row)  # type: ignore[arg-type]  # own names
