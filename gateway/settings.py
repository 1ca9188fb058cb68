"""What the gateway is configured with."""

import ipaddress
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import pydantic
import pydantic_settings

import kobklein.settings
from kobklein.admission import AdmissionSettings
from kobklein.settings import NO_PAIR, ListOf, Rate, are_a_pair


def _network(given: object) -> object:
    try:
        return ipaddress.ip_network(str(given))
    except ValueError:
        raise ValueError("must be a network, such as 10.0.0.0/8 or 2001:db8::/32") from None


Network = Annotated[ipaddress.IPv4Network | ipaddress.IPv6Network, pydantic.BeforeValidator(_network)]


class RateSettings(kobklein.settings.RateSettings):
    """How many calls one caller may make, and how many of one address may fail."""

    failures: Rate = "600/minute"
    """Calls of one address that are refused: without a good token, without the right, to no path, unproved webhooks."""


class Settings(kobklein.settings.Settings):
    """Read from `GATEWAY_…`."""

    model_config = pydantic_settings.SettingsConfigDict(env_prefix="GATEWAY_")

    host: str = "127.0.0.1"
    port: int = pydantic.Field(default=8080, ge=0, le=65535)
    """0 for a free one; the log says which."""
    payments_target: str
    wallets_target: str
    """Where the services listen, such as `dns:///wallets:50051`."""
    https_certificate_file: Path | None = None
    https_key_file: Path | None = None
    """Needed only where nothing in front of the gateway ends TLS."""

    call_seconds: float = pydantic.Field(default=10, gt=0)
    """Deadline of a call that names none."""
    longest_call_seconds: float = pydantic.Field(default=30, gt=0)
    """Longest deadline a client may ask for; reports get it by default."""
    longest_stream_seconds: float = pydantic.Field(default=3600, gt=0)
    """Longest deadline of a stream, and its default: as long as services let a watch last."""
    heartbeat_seconds: float = pydantic.Field(default=15, gt=0)
    receive_seconds: float = pydantic.Field(default=10, gt=0)
    """From a request's first byte to its last, however steadily it trickles."""
    webhook_seconds: float = pydantic.Field(default=5, gt=0)
    """How long the body of a webhook may take: it holds one of few places, and proves its sender at its end only."""
    send_stall_seconds: float = pydantic.Field(default=20, gt=0)
    """How long a client may leave an answer unread before it is cut off."""
    keep_alive_seconds: int = pydantic.Field(default=30, ge=1)
    drain_seconds: int = pydantic.Field(default=8, ge=0)

    longest_body_bytes: int = pydantic.Field(default=64 * 1024, ge=1024)
    """Longest body of a request, where the contract does not say `max_body_bytes`."""
    longest_head_bytes: int = pydantic.Field(default=32 * 1024, ge=1024)
    most_connections: int = pydantic.Field(default=4000, ge=1)
    most_connections_per_address: int = pydantic.Field(default=2000, ge=1)
    """A network of IPv6 counts as one address; trusted proxies have no limit of their own."""
    most_requests: int = pydantic.Field(default=1000, ge=1)
    """Requests served at a time; more are told to come back."""
    most_webhooks: int = pydantic.Field(default=50, ge=1)
    most_webhooks_per_address: int = pydantic.Field(default=20, ge=1)
    """Webhooks of providers received at a time, which do not count among the requests."""
    most_streams: int = pydantic.Field(default=250, ge=1)
    """Streams open at a time, which do not count among the requests."""
    payment_admission: AdmissionSettings = AdmissionSettings()
    """Card payments under way at a time, which do not count among the requests."""

    rates: RateSettings = RateSettings()

    trusted_proxies: ListOf[Network] = ()
    """Networks whose `X-Forwarded-For` is believed."""
    cors_origins: ListOf[str] = ()
    """Origins whose scripts may call; none by default."""
    docs: bool | None = None
    """Whether /docs and /openapi.json are served; by default outside of production only."""
    metrics: bool | None = None
    """Whether /metrics is served; by default outside of production only."""
    hsts: bool | None = None
    """Whether browsers are told to use HTTPS only; by default in production only."""

    def broken_rules(self) -> Iterator[str]:
        """Yield what production demands and lacks, and half of a pair."""
        yield from super().broken_rules()
        if (self.https_certificate_file is None) != (self.https_key_file is None):
            yield "{https_certificate_file} and {https_key_file} go together"

    def broken_files(self) -> Iterator[str]:
        """Yield the faults of the files."""
        yield from (wrong := tuple(super().broken_files()))
        certificate, key = self.https_certificate_file, self.https_key_file
        if certificate is not None and key is not None and not wrong and not are_a_pair(certificate, key):
            yield f"{{https_certificate_file}} and {{https_key_file}} {NO_PAIR}"

    @property
    def shows_docs(self) -> bool:
        """Whether /docs and /openapi.json are served."""
        return not self.production if self.docs is None else self.docs

    @property
    def shows_metrics(self) -> bool:
        """Whether /metrics is served."""
        return not self.production if self.metrics is None else self.metrics

    @property
    def demands_https(self) -> bool:
        """Whether browsers are told to use HTTPS only."""
        return self.production if self.hsts is None else self.hsts
