"""`migrate` changes the schema as its owner; `serve` cannot, and waits until that is done."""

import asyncio
import contextlib
import dataclasses
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import psycopg
import pytest
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc

from deploy.local import postgres as embedded
from kobklein import migrations
from tests import databases, waiting, wallets

_PACKAGE = "wallets_service"


@dataclasses.dataclass(frozen=True)
class Service:
    """The commands of wallets_service on one database, run as processes."""

    database: databases.Database
    log: Path
    port: int

    def run(self, command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self._arguments(command), env=self._environment(environment), capture_output=True, text=True, check=False
        )

    @contextlib.contextmanager
    def running(self) -> Iterator[subprocess.Popen[bytes]]:
        with self.log.open("wb") as output:
            process = subprocess.Popen(self._arguments("serve"), env=self._environment({}), stderr=output)
        try:
            yield process
        finally:
            process.terminate()
            process.wait(30)

    async def logged(self, words: str) -> None:
        async with waiting.patience(f"a line with {words!r}"):
            await asyncio.to_thread(self._wait_for, words)

    async def health(self, *, wait: bool = False) -> int:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{self.port}") as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            answer = await stub.Check(health_pb2.HealthCheckRequest(), wait_for_ready=wait, timeout=30)
            return int(answer.status)

    def _wait_for(self, words: str) -> None:
        with subprocess.Popen(["tail", "-n", "+1", "-f", self.log], stdout=subprocess.PIPE, text=True) as tail:
            assert tail.stdout is not None
            for line in tail.stdout:
                if words in line:
                    tail.terminate()
                    return

    def _arguments(self, command: str) -> list[str]:
        return [sys.executable, "-m", _PACKAGE, command]

    def _environment(self, more: dict[str, str]) -> dict[str, str]:
        return {
            **os.environ,
            "WALLETS_DATABASE_URL": self.database.application_url,
            "WALLETS_AUTH__HS256_SECRET": wallets.SECRET,
            "WALLETS_PAGE_TOKEN_KEY": "00" * 32,
            "WALLETS_PORT": str(self.port),
            **more,
        }


def without_database(server: embedded.Server, tmp_path: Path) -> Service:
    """Return a service whose database does not exist yet."""
    return Service(databases.named(server, _PACKAGE, "not_there_yet"), tmp_path / "log", embedded.free_port())


async def test_serve_waits_for_the_database_and_for_its_schema(
    postgres: embedded.Server, wallets_template: str, tmp_path: Path
) -> None:
    service = without_database(postgres, tmp_path)
    with service.running():
        await service.logged("waiting for the database")
        databases.create(postgres, _PACKAGE, "not_there_yet")
        await service.logged("waiting for the schema")
        with pytest.raises(grpc.aio.AioRpcError, match="refused"):
            await service.health()
        migrated = await asyncio.to_thread(
            service.run, "migrate", WALLETS_MIGRATION_DATABASE_URL=service.database.owner_url
        )
        assert migrated.returncode == 0, migrated.stderr
        assert await service.health(wait=True) == health_pb2.HealthCheckResponse.SERVING
    postgres.drop_database("not_there_yet")


def test_migrate_waits_for_the_database_and_says_that_it_does(tmp_path: Path) -> None:
    nowhere = f"postgresql://a:TopSecret@127.0.0.1:{embedded.free_port()}/x"
    service = Service(databases.Database(nowhere, nowhere, nowhere), tmp_path / "log", 0)
    failed = service.run("migrate", WALLETS_MIGRATION_WAIT_SECONDS="0.8")
    *tries, last = failed.stderr.splitlines()
    assert failed.returncode == 1
    assert tries
    assert all("waiting for the database" in each for each in tries)
    assert last.startswith("the database is out of reach: ")
    assert "TopSecret" not in failed.stderr


def test_serve_refuses_to_know_the_owner_of_its_database(tmp_path: Path) -> None:
    secret = "postgresql://owner:TopSecret@127.0.0.1/x"
    service = Service(databases.Database(secret, secret, secret), tmp_path / "log", 0)
    refused = service.run("serve", WALLETS_MIGRATION_DATABASE_URL=secret)
    assert (refused.returncode, refused.stderr) == (
        2,
        "WALLETS_MIGRATION_DATABASE_URL is for `migrate` alone: take it out of the environment of `serve`\n",
    )


async def test_code_serves_on_a_schema_that_is_newer_than_itself(wallets_database: databases.Database) -> None:
    with psycopg.connect(wallets_database.superuser_url) as hand:
        hand.execute("UPDATE alembic_version SET version_num = '2999_01_01_later'")
    with structlog.testing.capture_logs() as lines:
        async with waiting.patience("a newer schema is accepted"):
            await migrations.wait_until_migrated(_PACKAGE, wallets_database.application_url)
    assert [line["event"] for line in lines] == ["the schema is newer than this code"]


@pytest.mark.parametrize("package", ["payments_service", "wallets_service"])
async def test_the_application_role_sees_that_its_schema_is_there(request: pytest.FixtureRequest, package: str) -> None:
    made: databases.Database = request.getfixturevalue(f"{package.removesuffix('_service')}_database")
    with structlog.testing.capture_logs() as lines:
        async with waiting.patience("the schema is seen"):
            await migrations.wait_until_migrated(package, made.application_url)
    assert lines == []


async def test_replicas_may_migrate_at_once(wallets_database: databases.Database) -> None:
    """A migrated database is brought up to date again by many at once, and stays as it is."""
    await asyncio.gather(
        *(
            asyncio.to_thread(
                migrations.migrate,
                _PACKAGE,
                wallets_database.owner_url,
                application_url=wallets_database.application_url,
            )
            for _ in range(4)
        )
    )


def test_the_application_role_may_ask_for_a_migration_that_is_done(wallets_database: databases.Database) -> None:
    url = wallets_database.application_url
    migrations.migrate(_PACKAGE, url, application_url=url)
