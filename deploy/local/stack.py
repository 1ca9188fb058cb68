"""The whole system as processes on one machine: PostgreSQL, both services, the gateway, and the Stripe sandbox."""

import contextlib
import dataclasses
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import grpc
import httpx
import pydantic
from grpc_health.v1 import health_pb2, health_pb2_grpc

from deploy.local import folders, identity, postgres, processes
from deploy.local import ports as port_choice
from kobklein import settings

SANDBOX_KEY: Final = "sk_test_sandbox"
_PROBE_SECONDS: Final = 2


class Environment(settings.Variables):
    """What of the outside world the system is to use instead of its own parts."""

    stripe_secret_key: pydantic.SecretStr | None = None
    stripe_webhook_secret: pydantic.SecretStr | None = None
    stripe_return_url: str = "http://127.0.0.1:3000/payment/success"
    payments_database_url: settings.DatabaseUrl | None = None
    wallets_database_url: settings.DatabaseUrl | None = None
    payments_migration_database_url: settings.DatabaseUrl | None = None
    wallets_migration_database_url: settings.DatabaseUrl | None = None

    def broken_rules(self) -> Iterator[str]:
        """Yield half of a pair."""
        if (self.stripe_secret_key is None) != (self.stripe_webhook_secret is None):
            yield "{stripe_secret_key} and {stripe_webhook_secret} go together"


@dataclasses.dataclass(frozen=True, slots=True)
class Stack:
    """The running system."""

    gateway_url: str
    payments_target: str
    wallets_target: str
    metrics_urls: Mapping[str, str]
    """By name: gateway, payments, wallets."""
    sandbox_url: str | None
    """None while the real Stripe is used."""
    identity: identity.Identity
    webhook_secret: str
    payments_database_url: str
    wallets_database_url: str
    migrations: tuple[processes.Process, ...]
    """What brings the schemas up to date, and ends; it alone knows the owners of the databases."""
    processes: dict[str, processes.Process]
    """By name: sandbox, wallets, payments, gateway."""


@dataclasses.dataclass(frozen=True, slots=True)
class _Database:
    url: str
    owner_url: str


@dataclasses.dataclass(frozen=True, slots=True)
class _Databases:
    payments: _Database
    wallets: _Database


@contextlib.contextmanager
def running(
    folder: Path,
    *,
    database: postgres.Server | None,
    outside: Environment | None = None,
    ports: Mapping[str, int] | None = None,
    environment: Mapping[str, str] | None = None,
    started: processes.Started = processes.untold,
) -> Iterator[Stack]:
    """Run the system until left, with its keys, logs and sandbox state in `folder`; raises processes.StartError.

    `database` may be missing when `outside` names both databases. `environment` overrides what the processes are told;
    `started` is told of each process as it starts.
    """
    builder = _Builder(
        folder=folder,
        outside=outside or Environment(_env_file=None),
        identity=identity.load(folder / "keys"),
        ports={name: postgres.free_port() for name in port_choice.PREFERRED} | dict(ports or {}),
        extra=environment or {},
        started=started,
    )
    stack = builder.build(database)
    with contextlib.ExitStack() as exits:
        for process in (*stack.migrations, *stack.processes.values()):
            process.start()  # The services wait for their schema by themselves.
            exits.callback(process.stop)
        for process in stack.migrations:
            process.wait_until_done()
        for process in stack.processes.values():
            process.wait_until_ready()
        yield stack


@dataclasses.dataclass(frozen=True, slots=True)
class _Builder:
    folder: Path
    outside: Environment
    identity: identity.Identity
    ports: Mapping[str, int]
    extra: Mapping[str, str]
    started: processes.Started

    def build(self, database: postgres.Server | None) -> Stack:
        databases = _Databases(self._database(database, "payments"), self._database(database, "wallets"))
        made = [] if self._real_stripe else [self._sandbox()]
        made += [self._wallets(databases.wallets), self._payments(databases.payments), self._gateway()]
        return Stack(
            gateway_url=self._url("gateway"),
            payments_target=self._target("payments"),
            wallets_target=self._target("wallets"),
            metrics_urls={
                "gateway": f"{self._url('gateway')}/metrics",
                "payments": f"{self._url('payments_metrics')}/metrics",
                "wallets": f"{self._url('wallets_metrics')}/metrics",
            },
            sandbox_url=None if self._real_stripe else self._url("sandbox"),
            identity=self.identity,
            webhook_secret=self._webhook_secret,
            payments_database_url=databases.payments.url,
            wallets_database_url=databases.wallets.url,
            processes={process.name: process for process in made},
            migrations=(self._migration("wallets", databases.wallets), self._migration("payments", databases.payments)),
        )

    @property
    def _real_stripe(self) -> bool:
        return self.outside.stripe_secret_key is not None

    @property
    def _webhook_secret(self) -> str:
        given = self.outside.stripe_webhook_secret
        return given.get_secret_value() if given else f"whsec_{self.identity.secret('webhook')}"

    def _target(self, name: str) -> str:
        return f"127.0.0.1:{self.ports[name]}"

    def _url(self, name: str) -> str:
        return f"http://{self._target(name)}"

    def _database(self, server: postgres.Server | None, name: str) -> _Database:
        given: pydantic.SecretStr | None = getattr(self.outside, f"{name}_database_url")
        owner_given: pydantic.SecretStr | None = getattr(self.outside, f"{name}_migration_database_url")
        if given is not None:
            return _Database(given.get_secret_value(), (owner_given or given).get_secret_value())
        if server is None:
            raise ValueError(f"there is no database for {name}")
        owner, owner_password = f"{name}_owner", self.identity.secret(f"{name}-owner")
        user, password = name, self.identity.secret(f"{name}-application")
        server.create_role(owner, owner_password)
        server.create_role(user, password)
        server.create_database(name, owner=owner)
        server.grant_connect(name, role=user)
        return _Database(
            server.url(database=name, user=user, password=password),
            server.url(database=name, user=owner, password=owner_password),
        )

    def _migration(self, name: str, database: _Database) -> processes.Process:
        environment = {"DATABASE_URL": database.url, "MIGRATION_DATABASE_URL": database.owner_url}
        return self._process(
            f"{name}-migrate",
            ["-m", f"{name}_service", "migrate"],
            _prefixed(f"{name.upper()}_", environment),
            lambda: False,
        )

    def _sandbox(self) -> processes.Process:
        arguments = ["-m", "deploy.sandbox", "--port", str(self.ports["sandbox"])]
        arguments += ["--webhook-url", f"{self._url('gateway')}/payments/stripe/webhook"]
        arguments += ["--data", str(self.folder / "sandbox.sqlite")]
        # Every user of this machine can read arguments, and its own user alone the environment.
        secrets = {"SANDBOX_API_KEYS": SANDBOX_KEY, "SANDBOX_WEBHOOK_SECRET": self._webhook_secret}
        url = self._url("sandbox")
        return self._process("sandbox", arguments, secrets, lambda: httpx.get(url).is_success)

    def _wallets(self, database: _Database) -> processes.Process:
        return self._service("wallets", database, {"SEAL_KEY": self.identity.secret("seal")})

    def _payments(self, database: _Database) -> processes.Process:
        key = self.outside.stripe_secret_key
        stripe = {
            "STRIPE__SECRET_KEY": key.get_secret_value() if key else SANDBOX_KEY,
            "STRIPE__WEBHOOK_SECRETS": self._webhook_secret,
            "STRIPE__RETURN_URL": self.outside.stripe_return_url,
        }
        if not self._real_stripe:
            stripe["STRIPE__API_BASE"] = self._url("sandbox")
        service = {
            "WALLETS_TARGET": self._target("wallets"),
            "SERVICE_KEY_FILE": str(self.identity.private_key_file),
        }
        return self._service("payments", database, {**stripe, **service})

    def _gateway(self) -> processes.Process:
        environment = {
            "PORT": str(self.ports["gateway"]),
            "PAYMENTS_TARGET": self._target("payments"),
            "WALLETS_TARGET": self._target("wallets"),
            "AUTH__JWKS_FILE": str(self.identity.public_keys_file),
        }
        url = f"{self._url('gateway')}/readyz"
        return self._process(
            "gateway", ["-m", "gateway"], _prefixed("GATEWAY_", environment), lambda: httpx.get(url).is_success
        )

    def _service(self, name: str, database: _Database, specific: Mapping[str, str]) -> processes.Process:
        environment = {
            "PORT": str(self.ports[name]),
            "METRICS_PORT": str(self.ports[f"{name}_metrics"]),
            "DATABASE_URL": database.url,
            "MIGRATION_DATABASE_URL": "",  # The inherited value is for the migrations alone.
            "PAGE_TOKEN_KEY": self.identity.secret("page-tokens"),
            "AUTH__JWKS_FILE": str(self.identity.public_keys_file),
            **specific,
        }
        target = self._target(name)
        return self._process(
            name,
            ["-m", f"{name}_service", "serve"],
            _prefixed(f"{name.upper()}_", environment),
            lambda: _serving(target),
        )

    def _process(
        self, name: str, arguments: list[str], environment: Mapping[str, str], ready: processes.Question
    ) -> processes.Process:
        logs = self.folder / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        return processes.Process(
            name=name,
            command=[sys.executable, *arguments],
            log=logs / f"{name}.log",
            ready=ready,
            folder=folders.CHECKOUT,
            environment={**environment, **self.extra},
            started=self.started,
        )


def _prefixed(prefix: str, environment: Mapping[str, str]) -> dict[str, str]:
    return {prefix + key: value for key, value in environment.items()}


def _serving(target: str) -> bool:
    with grpc.insecure_channel(target) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        answer = health.Check(health_pb2.HealthCheckRequest(), timeout=_PROBE_SECONDS)
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)
