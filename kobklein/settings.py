"""What every process is configured with; read once from the environment in `__main__`, then passed down."""

import enum
import json
import logging
import os
import re
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Final, Self, TypeVar

import limits
import limits.aio
import pydantic
import pydantic_core
import pydantic_settings

from kobklein import jwks, money

T = TypeVar("T")
KEY_BYTES: Final = 32
_LEAST_SECRET: Final = 32
_HOST: Final = r"(?:\[[^\s\]]+\]|[^\s:@/?\[\],]*)(?::\d{1,5})?"
_DATABASE_URL: Final = re.compile(
    rf"postgres(?:ql)?://(?:[^\s:@/?]*(?::[^\s@/?]*)?@)?{_HOST}(?:,{_HOST})*(?:/[^\s?]*)?(?:\?\S*)?"
)
"""URLs that libpq reads, of one server or several; its message about another one has a part of it."""
_NO_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
BROKEN_RULES: Final = "broken_rules"
"""The type of an error that has the rules of a group which do not hold as `rules` in its context."""
_FIELD: Final = re.compile(r"\{(\w+)\}")


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


def _key(given: str) -> str:
    try:
        length = len(bytes.fromhex(given))
    except ValueError:
        length = 0
    if length != KEY_BYTES:
        raise ValueError(f"must be {KEY_BYTES} bytes in hexadecimal")
    return given


def _secret_key(given: pydantic.SecretStr) -> pydantic.SecretStr:
    _key(given.get_secret_value())
    return given


def _not_blank(given: pydantic.SecretStr) -> pydantic.SecretStr:
    if not given.get_secret_value().strip():
        raise ValueError("is blank")
    return given


def _long_enough(given: pydantic.SecretStr) -> pydantic.SecretStr:
    if len(given.get_secret_value()) < _LEAST_SECRET:
        raise ValueError(f"needs at least {_LEAST_SECRET} characters")
    return given


def _database_url(given: pydantic.SecretStr) -> pydantic.SecretStr:
    url = given.get_secret_value()
    if not _DATABASE_URL.fullmatch(url) or _NO_ESCAPE.search(url):
        raise ValueError("must be of the form postgresql://role:password@host:5432/database")
    return given


def _web_address(given: str) -> str:
    try:
        pydantic.HttpUrl(given)
    except ValueError:
        raise ValueError("must be an http:// or https:// address") from None
    return given


def _rate(given: str) -> str:
    try:
        limits.parse(given)
    except ValueError:
        raise ValueError("must be a number of calls and a time, such as 600/minute") from None
    return given


def _store(given: str) -> str:
    schemes = limits.storage.SCHEMES  # type: ignore[attr-defined]  # There is no other table of them.
    store = schemes.get(given.partition("://")[0])
    if store is None or not issubclass(store, limits.aio.storage.MovingWindowSupport):
        raise ValueError("must be async+memory:// or a store that replicas share, such as async+redis://…")
    return given


def _level(given: str) -> str:
    if given.upper() not in logging.getLevelNamesMapping():
        raise ValueError("must be debug, info, warning, error or critical")
    return given


ListOf = Annotated[tuple[T, ...], pydantic_settings.NoDecode, pydantic.BeforeValidator(_items)]
"""A list in an environment variable, as `a,b` or as JSON; `ListOf[str]` is a tuple of texts."""
Key = Annotated[str, pydantic.AfterValidator(_key)]
"""32 bytes in hexadecimal that anybody may see."""
SecretKey = Annotated[pydantic.SecretStr, pydantic.AfterValidator(_secret_key)]
"""32 random bytes in hexadecimal."""
Secret = Annotated[pydantic.SecretStr, pydantic.AfterValidator(_not_blank)]
DatabaseUrl = Annotated[pydantic.SecretStr, pydantic.AfterValidator(_database_url)]
WebAddress = Annotated[str, pydantic.AfterValidator(_web_address)]
Rate = Annotated[str, pydantic.AfterValidator(_rate)]
"""How many calls in how long, in the notation of the `limits` library."""


LogLevel = Annotated[str, pydantic.AfterValidator(_level)]
NO_PAIR: Final = "must name a certificate and its private key, as PEM and without a password"


def _known(currencies: tuple[str, ...]) -> tuple[str, ...]:
    if not money.currencies().issuperset(currencies):  # Whatever it is, it is not repeated: it may be a secret.
        raise ValueError("has something that is not a currency of ISO 4217: write codes, such as HTG,USD")
    return tuple(dict.fromkeys(currencies))


Currencies = Annotated[ListOf[str], pydantic.Field(min_length=1), pydantic.AfterValidator(_known)]
"""Currencies of ISO 4217, each once."""


class Environment(enum.StrEnum):
    """How strict a process is with its configuration, and how much it shows of itself."""

    DEVELOPMENT = "development"
    PRODUCTION = "production"


def named(rule: str, name: Callable[[str], str]) -> str:
    """Return a rule of a group as a sentence: `name` gives what stands there for a field."""
    return _FIELD.sub(lambda field: name(field[1]), rule)


class Group(pydantic.BaseModel):
    """Settings that belong together. A message about a mistake in them has the names of fields and no value.

    A rule is a sentence in which `{field}` stands for the name of a field, `{group__field}` for one of a group in this
    one. kobklein.configuration puts the names of the variables there.
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    def broken_rules(self) -> Iterator[str]:
        """Yield each rule between several fields that does not hold; groups are only made if there is none."""
        yield from ()

    def broken_files(self) -> Iterator[str]:
        """Yield the faults of the files that fields name; only a process that starts asks for them."""
        for name, value in self:
            if isinstance(value, Path) and not (value.is_file() and os.access(value, os.R_OK)):
                yield f"{{{name}}}: there is no readable file of that name"
            elif isinstance(value, Group):
                yield from (named(rule, (f"{{{name}__%s}}").__mod__) for rule in value.broken_files())

    @pydantic.model_validator(mode="after")
    def _rules_hold(self) -> Self:
        if rules := tuple(self.broken_rules()):
            said = "; ".join(named(rule, lambda field: field) for rule in rules)
            raise pydantic_core.PydanticCustomError(BROKEN_RULES, "{said}", {"said": said, "rules": rules})
        return self


class AuthSettings(Group):
    """Whose tokens are accepted. Exactly one source of keys is needed: `jwks_url`, `jwks_file` or `hs256_secret`."""

    issuer: str = "kobklein"
    audience: str = "kobklein-api"
    jwks_url: WebAddress | None = None
    """With https in production."""
    jwks_file: Path | None = None
    hs256_secret: Annotated[pydantic.SecretStr, pydantic.AfterValidator(_long_enough)] | None = None
    revocations_file: Path | None = None
    """JSON `{"subjects": [...], "token_ids": [...]}` that is re-read when it changes; who stands in it is refused."""
    leeway_seconds: int = pydantic.Field(default=10, ge=0, le=60)
    longest_lifetime_seconds: int = pydantic.Field(default=86_400, ge=60)

    def broken_rules(self) -> Iterator[str]:
        """Yield what does not hold between the sources of keys."""
        if sum(source is not None for source in (self.jwks_url, self.jwks_file, self.hs256_secret)) != 1:
            yield "exactly one of {jwks_url}, {jwks_file} and {hs256_secret} is needed"

    def broken_files(self) -> Iterator[str]:
        """Yield the faults of the files."""
        yield from (missing := tuple(super().broken_files()))
        if self.jwks_file is not None and not missing and not holds(self.jwks_file, jwks.some):
            yield "{jwks_file}: the file holds no JWK set with a usable key"


class RateSettings(Group):
    """How many calls one caller may make."""

    storage: Annotated[str, pydantic.AfterValidator(_store)] = "async+memory://"
    """Where the counts live; `async+redis://…` when several replicas share them."""
    read: Rate = "600/minute"
    write: Rate = "120/minute"
    payment: Rate = "30/minute"
    report: Rate = "60/minute"


class TlsSettings(Group):
    """Files of a mutual-TLS identity; without them, connections are plain."""

    certificate_file: Path
    key_file: Path
    authority_file: Path

    def broken_files(self) -> Iterator[str]:
        """Yield the faults of the files."""
        yield from (missing := tuple(super().broken_files()))
        if missing:
            return
        if not are_a_pair(self.certificate_file, self.key_file):
            yield f"{{certificate_file}} and {{key_file}} {NO_PAIR}"
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(self.authority_file)
        except OSError:
            yield "{authority_file}: the file holds no certificate as PEM"


class Variables(Group, pydantic_settings.BaseSettings):
    """Settings that are read from environment variables. A subclass gives their prefix."""

    model_config = pydantic_settings.SettingsConfigDict(
        frozen=True, env_nested_delimiter="__", env_ignore_empty=True, extra="ignore", hide_input_in_errors=True
    )


class ProcessSettings(Variables):
    """Settings that every process and command has which logs."""

    environment: Environment = Environment.DEVELOPMENT
    log_level: LogLevel = "info"
    log_json: bool = False


class MigrationSettings(ProcessSettings):
    """Settings of the command `migrate` of a service."""

    database_url: DatabaseUrl
    """The service's own URL: the migrations give its role access to the tables."""
    migration_database_url: DatabaseUrl | None = None
    """The same database as the role that owns the schema; without it, `database_url` is used."""
    migration_wait_seconds: float = pydantic.Field(default=60.0, ge=0)
    """How long a database that is away is waited for."""
    migration_statement_seconds: float = pydantic.Field(default=3600.0, gt=0)
    """How long one statement of a migration may take."""

    @property
    def owner_url(self) -> str:
        """The URL of the role that changes the schema."""
        return (self.migration_database_url or self.database_url).get_secret_value()


class Settings(ProcessSettings):
    """Settings that every process has which serves."""

    auth: AuthSettings
    rates: RateSettings = RateSettings()
    tls: TlsSettings | None = None
    require_idempotency_keys: bool = False
    """Whether calls that move money or create something are refused without an `Idempotency-Key`."""

    @property
    def production(self) -> bool:
        """Whether this is the strict profile."""
        return self.environment is Environment.PRODUCTION

    def broken_rules(self) -> Iterator[str]:
        """Yield what production demands and lacks."""
        if not self.production:
            return
        if self.tls is None:
            yield "{tls__certificate_file}, {tls__key_file} and {tls__authority_file} are needed in production"
        if self.auth.jwks_url is not None and not self.auth.jwks_url.lower().startswith("https:"):
            yield "{auth__jwks_url} must be https in production"


class ServiceSettings(Settings):
    """Settings that every gRPC service has."""

    host: str = "127.0.0.1"
    port: int = pydantic.Field(default=0, ge=0, le=65535)
    metrics_port: int | None = pydantic.Field(default=None, ge=0, le=65535)
    database_url: DatabaseUrl
    """`postgresql://…` of a role that may read and write, but not change the schema."""
    database_pool_size: int = pydantic.Field(default=10, ge=1, le=100)
    page_token_key: SecretKey
    """The same in every replica."""
    trusted_processes: ListOf[str] = ("gateway", "payments_service")
    """Names in the certificates of the processes whose word is taken for the address of the client they call for."""
    concurrent_calls: int = pydantic.Field(default=1000, ge=1)
    longest_call_seconds: float = pydantic.Field(default=10.0, gt=0)
    longest_report_seconds: float = pydantic.Field(default=120.0, gt=0)
    recheck_seconds: float = pydantic.Field(default=5.0, gt=0, le=60)
    """How often the token of a caller is proved again while a stream of theirs is open."""
    drain_seconds: float = pydantic.Field(default=8.0, ge=0)
    reflection: bool = True
    currencies: Currencies = ("HTG", "USD")
    """In which something new may begin; what exists in others goes on to its end."""

    def broken_rules(self) -> Iterator[str]:
        """Yield what production demands and lacks."""
        yield from super().broken_rules()
        if self.production and self.reflection:
            yield "{reflection} must be false in production"


def are_a_pair(certificate: Path, key: Path) -> bool:
    """Return whether files hold a certificate and its private key, as PEM and without a password."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=lambda: "")
    except OSError:
        return False
    return True


def holds(file: Path, parse: Callable[[str], object]) -> bool:
    """Return whether `parse` can read the text of a file; it raises a ValueError where it cannot."""
    try:
        parse(file.read_text())
    except (OSError, ValueError):
        return False
    return True
