"""Structured logs: one event a line, with the call's id, and never a secret."""

import functools
import json
import logging
import re
import sys
from collections.abc import Callable
from typing import Any, Final

import orjson
import structlog

from kobklein.settings import ProcessSettings

_MASK: Final = "***"
_TRACEBACK: Final = "exception"
"""The key of a traceback, as `format_exc_info` leaves it: the one text that has lines."""
_SECRET_KEYS: Final = re.compile(r"(?i)authorization|password|secret|token|signature|api_?key|card_?number|cvc")
_SECRET_VALUES: Final = (
    ("k_", re.compile(r"[sr]k_(?:test|live)_\w++")),
    ("whsec_", re.compile(r"whsec_\w++")),
    ("eyJ", re.compile(r"eyJ[\w-]{10,}+(?:\.[\w-]*+){0,2}+")),
    ("_secret_", re.compile(r"\b(?:(?!pi_)\w)*+pi_(?:(?!_secret_)\w)++_secret_\w++")),
    ("://", re.compile(r"(?<=://)[^\s/@:]*+:[^\s/@]++(?=@)")),
    ("", re.compile(r"\b\d(?:[ -]?\d){12,18}\b")),
)
"""What every match of an expression holds, which is looked for first, and the expression: keys and webhook secrets of
Stripe, tokens, client secrets, passwords in URLs, card numbers.

Each reads a text once, whatever is in it: what one attempt has read, no later one reads again.
"""


def configure(settings: ProcessSettings, *, process: str) -> None:
    """Send structlog's and the standard library's logs to standard error, masked, as JSON or for a person."""
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    rendered = _for_machines() if settings.log_json else _for_people()
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.format_exc_info,
        mask,
        structlog.processors.add_log_level,  # What is added from here on is our own, and no secret.
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, *rendered],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendered],
        )
    )
    logging.basicConfig(level=max(level, logging.WARNING), handlers=[handler], force=True)
    structlog.contextvars.bind_contextvars(process=process)


def _for_machines() -> list[Any]:
    return [structlog.processors.JSONRenderer(_json)]


def _for_people() -> list[Any]:
    plain = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    return [_indent, plain]


def _indent(_logger: Any, _method: str, event: dict[str, Any]) -> dict[str, Any]:
    """Move the lines of a traceback away from where lines of the log begin, so that none can be taken for one."""
    if _TRACEBACK in event:
        event[_TRACEBACK] = "    " + event[_TRACEBACK].replace("\n", "\n    ")
    return event


def mask(_logger: Any, _method: str, event: dict[str, Any]) -> dict[str, Any]:
    """Replace what looks like a secret, by its name or its shape, and line breaks that would forge a line.

    A traceback keeps its lines: as JSON they are escaped anyway, and for people they are indented.
    """
    if _harmless(event):
        return event
    found = _masked_values(event)
    traceback = event.get(_TRACEBACK)
    if isinstance(traceback, str):
        found[_TRACEBACK] = _without_secrets(traceback).replace("\r", "\\r")
    return found


def _masked_values(values: dict[Any, Any]) -> dict[Any, Any]:
    return {key: _MASK if _named_secret(key) else _masked(value) for key, value in values.items()}


def _harmless(event: dict[str, Any]) -> bool:
    """Return whether there is nothing to mask, as in nearly every event: one search over all texts says so.

    What separates the texts is no part of a word, so that a search over all of them finds whatever one over each finds.
    """
    texts = []
    for key, value in event.items():
        if _named_secret(key):
            return False
        if isinstance(value, str):
            texts.append(value)
        elif isinstance(value, dict | list | tuple):
            return False
    text = "\0".join(texts)
    return (
        "\r" not in text
        and "\n" not in text
        and not any(mark in text and secret.search(text) for mark, secret in _SECRET_VALUES)
    )


@functools.lru_cache(maxsize=1024)  # Keys are written in the code, so there are few of them.
def _named_secret(key: str) -> bool:
    return _SECRET_KEYS.search(key) is not None


def _masked(value: Any) -> Any:
    if isinstance(value, str):
        return _without_secrets(value).replace("\r", "\\r").replace("\n", "\\n")
    if isinstance(value, dict):
        return _masked_values(value)
    if isinstance(value, list | tuple):
        return [_masked(item) for item in value]
    return value


def _without_secrets(text: str) -> str:
    for mark, secret in _SECRET_VALUES:
        if mark in text:
            text = secret.sub(_MASK, text)
    return text


def _json(event: dict[str, Any], default: Callable[[Any], Any]) -> str:
    """Return an event as JSON text; what orjson refuses, such as a broken surrogate, goes the forgiving way."""
    try:
        return orjson.dumps(event, default=default, option=orjson.OPT_NON_STR_KEYS).decode()
    except orjson.JSONEncodeError:
        return json.dumps(event, default=default)
