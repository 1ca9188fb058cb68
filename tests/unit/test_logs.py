"""Logs never hold a secret, and no value can forge a line."""

import json
from typing import Any

import pytest

from kobklein import logs


def masked(**event: Any) -> dict[str, Any]:
    return logs.mask(None, "", event)


@pytest.mark.parametrize(
    "secret",
    [
        "sk_test_abc123",
        "rk_live_abc123",
        "whsec_abc123",
        "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJ1In0.abc",
        "pi_123_secret_456",
        "4242424242424242",
        "4242 4242 4242 4242",
    ],
)
def test_what_looks_like_a_secret_is_masked_wherever_it_stands(secret: str) -> None:
    assert masked(event=f"charge with {secret} failed", nested={"a": [secret]}) == {
        "event": "charge with *** failed",
        "nested": {"a": ["***"]},
    }


@pytest.mark.parametrize("key", ["authorization", "password", "client_secret", "stripe_signature", "apiKey", "token"])
def test_what_is_named_like_a_secret_is_masked(key: str) -> None:
    assert masked(**{key: "anything"}) == {key: "***"}


def test_the_password_in_a_database_url_is_masked() -> None:
    assert masked(event="postgresql://owner:hunter2@127.0.0.1/db") == {"event": "postgresql://***@127.0.0.1/db"}


def test_line_breaks_are_shown_not_written() -> None:
    assert masked(reference="a\r\nb") == {"reference": "a\\r\\nb"}


def test_other_values_stay_as_they_are() -> None:
    event = {"payment": "0198c5b0-7d2a-7c3e-9f61-2b8f4d1c9a10", "ms": 1.5, "count": 3}
    assert masked(**event) == event


def test_a_secret_is_masked_beside_harmless_texts() -> None:
    assert masked(method="/a/B", reference="4242424242424242", ms=1) == {"method": "/a/B", "reference": "***", "ms": 1}


def test_digits_of_two_values_together_are_no_card_number() -> None:
    event = {"first": "42424242", "second": "42424242"}
    assert masked(**event) == event


def test_a_line_of_json_holds_what_a_strict_encoder_refuses() -> None:
    assert json.loads(logs._json({"event": "\ud800", "count": 2**70}, repr)) == {"event": "\ud800", "count": 2**70}
