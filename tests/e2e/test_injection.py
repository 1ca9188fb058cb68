"""Text that would be SQL in a careless program is data here, wherever a caller can put it."""

import uuid

import pytest

from tests.e2e import system

HOSTILE = [
    "'; DROP TABLE payments; --",
    "' OR '1'='1",
    "x' UNION SELECT password FROM pg_shadow --",
    "%'; SELECT pg_sleep(10); --",
    "\\'; TRUNCATE transfers; --",
    "${7*7} {{7*7}} %(reference)s :reference $1",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_kept_and_given_back_as_it_is(client: system.Client, text: str) -> None:
    token = client.token("user-injection", "user")
    body = {"amount": 1, "method": "STRIPE", "description": text, "metadata": {"note": text, text: 1}}
    made = client.call("POST", "/payments", token=token, key=str(uuid.uuid4()), json=body)
    assert made.status_code == 201
    payment = client.payment(token, made.json()["id"])
    assert (payment["description"], payment["metadata"]) == (text, {"note": text, text: 1})


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("parameter", ["reference", "currency", "status", "userId", "pageToken", "createdFrom"])
def test_hostile_text_in_a_filter_finds_nothing_or_is_refused(client: system.Client, parameter: str, text: str) -> None:
    token = client.token("admin-1", "admin")
    answer = client.call("GET", "/payments", token=token, params={parameter: text})
    assert answer.status_code == 400 or answer.json()["payments"] == []


def test_the_tables_are_still_there(client: system.Client) -> None:
    stack = client.stack
    assert system.rows(stack.payments_database_url, "SELECT count(*) > 0 FROM payments") == [(True,)]
    assert system.rows(stack.wallets_database_url, "SELECT count(*) >= 0 FROM transfers") == [(True,)]
