"""What every process is configured with; read once from the environment in `__main__`, then passed down."""

import enum
import json
from pathlib import Path
from typing import Annotated, Self, TypeVar

import pydantic
import pydantic_settings

T = TypeVar("T")


def _items(given: object) -> object:
    """Return the items of a list that is written as text: `a,b`, or JSON where an item has a comma in it."""
    if not isinstance(given, str):
        return given
    if not given.lstrip().startswith("["):
        items = [item.strip() for item in given.split(",")]
    else:
        try:
            items = json.loads(given)
        except (ValueError, RecursionError):  # Whose message would repeat the text.
            raise ValueError("begins with [ and is not JSON: write a,b or a JSON list") from None
    if "" in items:
        raise ValueError("has an empty item")
    return items


ListOf = Annotated[tuple[T, ...], pydantic_settings.NoDecode, pydantic.BeforeValidator(_items)]
"""A list in an environment variable, as `a,b` or as JSON; `ListOf[str]` is a tuple of texts."""


class Environment(enum.StrEnum):
    """How strict a process is with its configuration, and how much it shows of itself."""

    DEVELOPMENT = "development"
    PRODUCTION = "production"


class AuthSettings(pydantic.BaseModel, frozen=True):
    """Whose tokens are accepted. Exactly one source of keys is needed: `jwks_url`, `jwks_file` or `hs256_secret`."""

    issuer: str = "kobklein"
    audience: str = "kobklein-api"
    jwks_url: str | None = None
    jwks_file: Path | None = None
    hs256_secret: pydantic.SecretStr | None = None
    revocations_file: Path | None = None
    """JSON `{"subjects": [...], "token_ids": [...]}` that is re-read when it changes; who stands in it is refused."""
    leeway_seconds: int = pydantic.Field(default=10, ge=0, le=60)
    longest_lifetime_seconds: int = pydantic.Field(default=86_400, ge=60)

    @pydantic.model_validator(mode="after")
    def _one_key_source(self) -> Self:
        if sum(source is not None for source in (self.jwks_url, self.jwks_file, self.hs256_secret)) != 1:
            raise ValueError("exactly one of jwks_url, jwks_file and hs256_secret is needed")
        return self


class RateSettings(pydantic.BaseModel, frozen=True):
    """How many calls one caller may make, in the notation of the `limits` library."""

    storage: str = "async+memory://"
    """Where the counts live; `async+redis://…` when several replicas share them."""
    read: str = "600/minute"
    write: str = "120/minute"
    payment: str = "30/minute"
    report: str = "60/minute"


class TlsSettings(pydantic.BaseModel, frozen=True):
    """Files of a mutual-TLS identity; without them, connections are plain."""

    certificate_file: Path
    key_file: Path
    authority_file: Path


class Settings(pydantic_settings.BaseSettings):
    """Settings that every process has. A subclass gives the prefix of its environment variables."""

    model_config = pydantic_settings.SettingsConfigDict(
        frozen=True, env_nested_delimiter="__", env_ignore_empty=True, extra="ignore"
    )

    environment: Environment = Environment.DEVELOPMENT
    log_level: str = "info"
    log_json: bool = False
    auth: AuthSettings
    rates: RateSettings = RateSettings()
    tls: TlsSettings | None = None

    @property
    def production(self) -> bool:
        """Whether this is the strict profile."""
        return self.environment is Environment.PRODUCTION


class ServiceSettings(Settings):
    """Settings that every gRPC service has."""

    host: str = "127.0.0.1"
    port: int = pydantic.Field(default=0, ge=0, le=65535)
    metrics_port: int | None = pydantic.Field(default=None, ge=0, le=65535)
    database_url: pydantic.SecretStr
    """`postgresql://…` of a role that may read and write, but not change the schema."""
    migration_database_url: pydantic.SecretStr | None = None
    """The same database as the role that owns the schema; without it, `database_url` is used."""
    database_pool_size: int = pydantic.Field(default=10, ge=1, le=100)
    page_token_key: pydantic.SecretStr
    """32 random bytes in hexadecimal, the same in every replica."""
    concurrent_calls: int = pydantic.Field(default=1000, ge=1)
    longest_call_seconds: float = pydantic.Field(default=10.0, gt=0)
    longest_report_seconds: float = pydantic.Field(default=120.0, gt=0)
    recheck_seconds: float = pydantic.Field(default=5.0, gt=0, le=60)
    """How often the token of a caller is proved again while a stream of theirs is open."""
    drain_seconds: float = pydantic.Field(default=8.0, ge=0)
    reflection: bool = True

    @pydantic.model_validator(mode="after")
    def _strict_in_production(self) -> Self:
        if self.production and self.tls is None:
            raise ValueError("tls is needed in production")
        if self.production and self.reflection:
            raise ValueError("reflection must be off in production")
        if len(bytes.fromhex(self.page_token_key.get_secret_value())) != 32:
            raise ValueError("page_token_key must be 32 bytes in hexadecimal")
        return self
