"""Structured logs: one event a line, with the call's id, and never a secret."""

import logging
import re
import sys
from typing import Any, Final

import structlog

from kobklein.settings import Settings

_MASK: Final = "***"
_SECRET_KEYS: Final = re.compile(r"(?i)authorization|password|secret|token|signature|api_?key|card_?number|cvc")
_SECRET_VALUES: Final = re.compile(
    r"(sk|rk)_(test|live)_\w+|whsec_\w+|eyJ[\w-]+\.[\w-]+\.[\w-]*|pi_\w+_secret_\w+|\b\d(?:[ -]?\d){12,18}\b|(?<=://)[^\s/@]+:[^\s/@]+(?=@)"
)


def configure(settings: Settings, *, process: str) -> None:
    """Send structlog's and the standard library's logs to standard error, masked, as JSON or for a person."""
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    renderer: Any = (
        structlog.processors.JSONRenderer() if settings.log_json else structlog.dev.ConsoleRenderer(colors=False)
    )
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        mask,
    ]
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.basicConfig(level=max(level, logging.WARNING), handlers=[handler], force=True)
    structlog.contextvars.bind_contextvars(process=process)


def mask(_logger: Any, _method: str, event: dict[str, Any]) -> dict[str, Any]:
    """Replace what looks like a secret, by its name or its shape, and line breaks that would forge a line."""
    return {key: _MASK if _SECRET_KEYS.search(key) else _masked(value) for key, value in event.items()}


def _masked(value: Any) -> Any:
    if isinstance(value, str):
        return _SECRET_VALUES.sub(_MASK, value).replace("\r", "\\r").replace("\n", "\\n")
    if isinstance(value, dict):
        return mask(None, "", value)
    if isinstance(value, list | tuple):
        return [_masked(item) for item in value]
    return value
