"""What this process is configured with, from environment variables that start with `PAYMENTS_`."""

from collections.abc import Iterator
from pathlib import Path

import pydantic
import pydantic_settings

from kobklein import jwks
from kobklein import settings as common
from kobklein.admission import AdmissionSettings
from kobklein.settings import Group, ListOf, Secret, ServiceSettings, WebAddress, holds

Seconds = pydantic.PositiveFloat
Schedule = ListOf[Seconds]
"""Pauses before the first, second, … repetition; the last one stands for all that follow."""


class StripeSettings(Group):
    """How to reach Stripe, and what proves its webhooks."""

    secret_key: Secret
    webhook_secrets: ListOf[Secret] = pydantic.Field(min_length=1, max_length=5)
    """Every secret in use: two while one is being replaced by the other."""
    api_base: WebAddress | None = None
    """Another address than Stripe's own, such as that of a simulator."""
    return_url: str
    """Where payers come back to after a redirect."""
    connect_seconds: Seconds = 2.0
    """Short enough that every repetition in vain fits into the time for which a caller waits."""
    reply_seconds: Seconds = 10.0
    retries: int = pydantic.Field(default=2, ge=0, le=5)


class MoneyPathSettings(Group):
    """How patient the money path is, and how often it asks again."""

    provider_seconds: Seconds = 12.0
    """Longest wait for the provider in one step, repetitions included; then the outcome is unknown."""
    lease_seconds: Seconds = 20.0
    """How long a step belongs to who claimed it; longer than it can take."""
    answer_seconds: Seconds = 8.0
    """Longest wait of a caller while the provider is still being asked; then the answer is the payment as it is."""
    call_lease_seconds: Seconds = 10.0
    """How long an idempotency key belongs to the call that came with it, and after a crash shuts its repetition out.

    A call that takes longer does no harm: its repetition waits for the same payment, and both get the first answer.
    """
    provider_schedule: Schedule = (60.0, 300.0, 3600.0, 86_400.0)
    """When an unknown outcome, or an intent that waits for somebody, is asked for again."""
    ledger_schedule: Schedule = (0.5, 1.0, 2.0, 5.0, 10.0)
    """When the ledger is asked again after it was out of reach."""
    refusal_schedule: Schedule = (60.0, 300.0, 3600.0)
    """When the ledger is asked again after it refused, as it does while a wallet is frozen."""
    key_seconds: Seconds = 23 * 3600.0
    """How long a repeated charge is recognised by its idempotency key; Stripe keeps keys for 24 hours at least."""
    payer_seconds: Seconds = 24 * 3600.0
    """How long a payer may take over a next action; then the intent is cancelled."""
    unprocessable_seconds: Seconds = 7 * 24 * 3600.0
    """How long a payment stays PENDING whose method has no provider; then it is cancelled."""
    poll_seconds: Seconds = 1.0
    """How often due work is looked for without having been told of."""
    concurrent_steps: int = pydantic.Field(default=32, ge=1, le=1000)
    settlement_size: int = pydantic.Field(default=500, ge=1, le=5000)

    def broken_rules(self) -> Iterator[str]:
        """Yield each claim that could end before the work it is for."""
        if self.lease_seconds <= self.provider_seconds:
            yield "{lease_seconds} must be more than {provider_seconds}"
        if self.call_lease_seconds <= self.answer_seconds:
            yield "{call_lease_seconds} must be more than {answer_seconds}"


class InboxSettings(Group):
    """Limits of the inbox of webhooks."""

    payload_bytes: int = pydantic.Field(default=512 * 1024, ge=1)
    batch_size: int = pydantic.Field(default=50, ge=1, le=1000)
    busy_seconds: Seconds = 0.5
    """When an event is tried again whose payment was being worked on."""
    retry_schedule: Schedule = (5.0, 60.0, 600.0, 3600.0)
    """When an event is tried again that could not be applied."""


class CardAdmissionSettings(AdmissionSettings):
    """How many calls that charge cards are under way; see `payments_service.admission`."""

    target_seconds: Seconds = 0.1
    """The limit falls while half of the calls wait longer than this until they are recorded."""
    queue_seconds: Seconds = 2.0
    """A call that has waited this long is refused instead of recorded."""


class Settings(ServiceSettings):
    """Settings of payments_service."""

    model_config = pydantic_settings.SettingsConfigDict(env_prefix="PAYMENTS_")

    stripe: StripeSettings
    wallets_target: str
    """Where the ledger listens, such as `dns:///wallets:50051`."""
    service_key_file: Path
    """The private JWK that this service proves itself to others with."""
    service_subject: str = "payments_service"
    ledger_seconds: Seconds = 5.0
    longest_watch_seconds: Seconds = 3600.0
    money_path: MoneyPathSettings = MoneyPathSettings()
    inbox: InboxSettings = InboxSettings()
    admission: CardAdmissionSettings = CardAdmissionSettings()

    def broken_rules(self) -> Iterator[str]:
        """Yield what production demands and lacks; real money moves there and nowhere else."""
        yield from super().broken_rules()
        live = self.stripe.secret_key.get_secret_value().startswith(("sk_live_", "rk_live_"))
        if live and not self.production:
            yield "{stripe__secret_key} is a live key, and live keys need {environment}=production"
        if not live and self.production:
            yield "{environment} is production, which needs a live key in {stripe__secret_key}"

    def broken_files(self) -> Iterator[str]:
        """Yield the faults of the files."""
        yield from (wrong := tuple(super().broken_files()))
        if not wrong and not holds(self.service_key_file, jwks.private):
            yield "{service_key_file}: the file holds no private JWK"


class MigrationSettings(common.MigrationSettings):
    """Settings of `migrate`."""

    model_config = pydantic_settings.SettingsConfigDict(env_prefix="PAYMENTS_")
