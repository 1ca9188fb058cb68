"""What wallets_service is configured with, by environment variables that start with `WALLETS_`."""

import enum

import pydantic
import pydantic_settings

from kobklein.settings import ServiceSettings


class Isolation(enum.StrEnum):
    """The isolation level of the ledger's writing transactions. Row locks make both correct."""

    READ_COMMITTED = "read committed"
    SERIALIZABLE = "serializable"


class Settings(ServiceSettings):
    """Settings of wallets_service."""

    model_config = pydantic_settings.SettingsConfigDict(env_prefix="WALLETS_")

    isolation: Isolation = Isolation.READ_COMMITTED
    ledger_writers: int = pydantic.Field(default=1, ge=1, le=8)
    """How many batches of transfers may be on their way to the database at once, each on its own connection."""
    ledger_batch_transfers: int = pydantic.Field(default=2_000, ge=1, le=10_000)
    """How many transfers are collected for one transaction; a single larger call still gets one of its own."""
    ledger_waiting_transfers: int = pydantic.Field(default=50_000, ge=10_000)
    """How many transfers may wait; calls beyond that are turned away."""
