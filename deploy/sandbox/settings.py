"""Everything a sandbox can be told before it starts."""

import re
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

API_VERSION = "2026-10-28.endive"
VERSION = re.compile(r"\d{4}-\d{2}-\d{2}(\.[a-z]+)?")
"""How versions are written."""
"""The version of Stripe's API whose shapes the sandbox speaks: the one that the official SDK pins."""


class Settings(BaseModel):
    """One sandbox. All values are test values: nothing here is a secret of the real Stripe."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    api_keys: tuple[str, ...] = ("sk_test_sandbox",)
    data: Path | None = None
    """The SQLite file that keeps the state; without one the state ends with the process."""
    public_url: str | None = None
    """Where payers reach the 3-D Secure pages; without one, the address that the caller used."""
    seed: int | None = None
    """Makes ids and random choices repeatable."""

    webhook_url: str | None = None
    webhook_secret: str = Field(default="whsec_sandbox", min_length=8)
    webhook_events: tuple[str, ...] = ("*",)
    webhook_tries: int = Field(default=8, ge=1, le=50)
    webhook_backoff_seconds: float = Field(default=0.5, gt=0)
    webhook_backoff_limit_seconds: float = Field(default=60, gt=0)
    webhook_timeout_seconds: float = Field(default=10, gt=0)
    webhook_parallel: int = Field(default=16, ge=1, le=256)

    body_limit_bytes: int = Field(default=1_000_000, gt=0)
    authorization_days: int = Field(default=7, ge=1)
    idempotency_hours: int = Field(default=24, ge=24)
