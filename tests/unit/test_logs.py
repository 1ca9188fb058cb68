"""Logs never hold a secret, and no value can forge a line."""

import json
import subprocess
import sys
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


def written(script: str, *, as_json: bool) -> list[str]:
    """Return the lines that a process logs which runs `script`."""
    prepared = (
        "import logging, structlog\n"
        "from kobklein import logs, settings\n"
        f"logs.configure(settings.Settings(auth={{'hs256_secret': 'x' * 32}}, log_json={as_json}), process='test')\n"
        "log = structlog.get_logger()\n"
    )
    command = [sys.executable, "-W", "error", "-c", prepared + script]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stderr.splitlines()


FAILING = """
def fail():
    raise ValueError('first sk_test_planted\\n2026-11-28 12:00:00 [info     ] forged')
try:
    fail()
except ValueError as error:
    log.error('it failed\\nforged', exc_info=error)
    logging.getLogger('library').error('so did this', exc_info=error)
log.info('done')
"""


def test_people_read_a_traceback_in_lines_and_none_of_them_looks_like_a_line_of_the_log() -> None:
    lines = written(FAILING, as_json=False)
    starts = [line for line in lines if not line.startswith("    ")]
    assert len(starts) == 3
    assert "it failed\\nforged" in starts[0]
    assert "so did this" in starts[1]
    assert lines.count("    Traceback (most recent call last):") == 2
    assert lines.count("    ValueError: first ***") == 2
    assert "sk_test_planted" not in "".join(lines)


def test_machines_read_a_traceback_in_one_line() -> None:
    first, second, third = map(json.loads, written(FAILING, as_json=True))
    for each in (first, second):
        assert each["exception"].splitlines()[0] == "Traceback (most recent call last):"
        assert "\nValueError: first ***\n" in each["exception"]
    assert third["event"] == "done"


def test_only_a_traceback_keeps_its_lines() -> None:
    assert masked(exception="a\r\nb", nested={"exception": "a\nb"}) == {
        "exception": "a\\r\nb",
        "nested": {"exception": "a\\nb"},
    }
