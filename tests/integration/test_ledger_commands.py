"""The commands of an audit as processes, and the same proofs over REST."""

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import click.testing
import httpx
import psycopg
import pytest
import typer.testing
from google.protobuf import json_format

from deploy.local import postgres as embedded
from gateway import app, backends, comments
from kobklein.wallets.v1 import ledger_pb2
from tests import databases, gateways, ledgers, wallets
from wallets_service import __main__


@dataclasses.dataclass(frozen=True)
class Audited:
    """A sealed ledger, and the commands on it."""

    written: ledgers.Written

    def run(self, *arguments: str, **changes: str) -> click.testing.Result:
        """Run a command with nothing but the database, and what is given, in its environment."""
        environment = {"WALLETS_DATABASE_URL": self.written.database.application_url, "COLUMNS": "200", **changes}
        return typer.testing.CliRunner().invoke(__main__.app, arguments, env=environment)

    def tamper(self, statement: str) -> None:
        """Run a statement as somebody whom no rule of the tables stops."""
        with psycopg.connect(self.written.database.superuser_url) as connection:
            connection.execute("SET session_replication_role = replica")
            connection.execute(statement.encode())


@pytest.fixture
async def audited(wallets_database: databases.Database) -> Audited:
    return Audited(await ledgers.written(wallets_database, rounds=3))


def test_an_honest_ledger_is_verified_with_a_kept_head_and_key(audited: Audited, tmp_path: Path) -> None:
    printed = audited.run("head")
    assert printed.exit_code == 0, printed.stderr
    (tmp_path / "head.json").write_text(printed.stdout)
    key = audited.written.key.public.hex()
    assert json.loads(printed.stdout)["publicKey"] == key
    shown = audited.run("verify", "--head", str(tmp_path / "head.json"), "--public-key", key)
    assert (shown.exit_code, shown.stderr) == (0, "")
    assert "Everything holds." in shown.stdout
    as_json = audited.run("verify", "--json")
    assert "No public key was given" in as_json.stderr
    report = json_format.Parse(as_json.stdout, ledger_pb2.LedgerReport())
    assert (report.balanced, str(report.sealed_count)) == (True, json.loads(printed.stdout)["sequence"])


def test_a_break_is_shown_and_the_exit_code_is_1(audited: Audited, tmp_path: Path) -> None:
    (tmp_path / "head.json").write_text(audited.run("head").stdout)
    audited.tamper("UPDATE transfers SET description = 'changed' WHERE reference = 'r0'")
    audited.tamper("DELETE FROM seals WHERE number = 3")
    shown = audited.run("verify", "--head", str(tmp_path / "head.json"))
    assert shown.exit_code == 1
    assert "CHAIN_BROKEN" in shown.stdout
    assert "HEAD_NOT_FOUND" in shown.stdout
    report = json.loads(audited.run("verify", "--json").stdout)
    assert [each["check"] for each in report["breaks"]] == ["CHAIN_BROKEN"]
    assert {"transferId", "sequence", "detail"} <= report["breaks"][0].keys()


def test_a_key_that_did_not_sign_is_a_break(audited: Audited) -> None:
    assert audited.run("verify", "--public-key", "00" * 32).exit_code == 1


def test_beside_the_service_its_own_key_and_those_before_it_are_trusted(audited: Audited) -> None:
    older = {"WALLETS_SEAL_TRUSTED_KEYS": f"{'00' * 32}, {'11' * 32}"}
    assert audited.run("verify", **older).exit_code == 1
    shown = audited.run("verify", **older, WALLETS_SEAL_KEY=wallets.SEAL_KEY.hex())
    assert (shown.exit_code, shown.stderr) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("verify", "--public-key", "xyz"), "64 hexadecimal digits"),
        (("verify", "--public-key", "ab"), "64 hexadecimal digits"),
        (("trial-balance", "--time", "yesterday"), "is not an instant"),
        (("trial-balance", "--time", "2999-01-01"), "is in the future"),
        (("trial-balance", "--currency", "xxx"), "currency: is not a currency of ISO 4217"),
    ],
)
def test_a_wrong_argument_is_said_in_words(audited: Audited, arguments: tuple[str, ...], said: str) -> None:
    answer = audited.run(*arguments)
    assert answer.exit_code == 2
    assert said in answer.stderr


@pytest.mark.parametrize("kept", ['{"sequence": 5}', "{}", '{"sequence": "0"}', ""])
def test_a_file_that_holds_no_head_is_said_in_words(audited: Audited, tmp_path: Path, kept: str) -> None:
    (tmp_path / "head.json").write_text(kept)
    answer = audited.run("verify", "--head", str(tmp_path / "head.json"))
    assert (answer.exit_code, "does not hold a head" in answer.stderr) == (2, True)


def test_without_a_database_the_commands_say_what_is_missing() -> None:
    command = [sys.executable, "-m", "wallets_service", "verify"]
    answer = subprocess.run(command, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=False)
    assert (answer.returncode, "WALLETS_DATABASE_URL" in answer.stderr) == (2, True)


@pytest.mark.parametrize("command", ["verify", "head", "trial-balance"])
@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"WALLETS_DATABASE_URL": "postgresql:/hunter2"}, "WALLETS_DATABASE_URL: must be of the form postgresql://"),
        ({"WALLETS_SEAL_TRUSTED_KEYS": "abc"}, "WALLETS_SEAL_TRUSTED_KEYS: item 1 "),
        ({"WALLETS_SEAL_TRUSTED_KEYS": "[[]]"}, "WALLETS_SEAL_TRUSTED_KEYS: item 1 "),
        ({"WALLETS_SEAL_KEY": "abc"}, "WALLETS_SEAL_KEY: must be 32 bytes"),
        ({"WALLETS_SEAL_KEY": "00"}, "WALLETS_SEAL_KEY: must be 32 bytes"),
        ({}, "WALLETS_DATABASE_URL names no ledger: relation"),
    ],
)
def test_what_cannot_be_told_is_said_in_one_line(
    postgres: embedded.Server, command: str, wrong: dict[str, str], said: str
) -> None:
    environment = {"WALLETS_DATABASE_URL": postgres.url(), "COLUMNS": "200", **wrong}
    answer = typer.testing.CliRunner().invoke(__main__.app, [command], env=environment)
    assert (answer.exit_code, answer.stdout, answer.stderr.count("\n")) == (2, "", 1), answer.output
    assert said in answer.stderr
    assert "hunter2" not in answer.stderr


def test_a_ledger_without_a_seal_has_no_head(wallets_database: databases.Database) -> None:
    environment = {"PATH": os.environ["PATH"], "WALLETS_DATABASE_URL": wallets_database.application_url}
    command = [sys.executable, "-m", "wallets_service", "head"]
    answer = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stdout) == (2, "")


def test_a_trial_balance_is_printed_as_a_table_and_as_json(audited: Audited) -> None:
    shown = audited.run("trial-balance", "--currency", "HTG")
    assert (shown.exit_code, "provider" in shown.stdout, "80000.00" in shown.stdout) == (0, True, True)
    printed = json.loads(audited.run("trial-balance", "--json", "--basis", "effective").stdout)
    assert printed["basis"] == "TIME_BASIS_EFFECTIVE"
    assert {line["kind"] for line in printed["lines"]} == {"provider", "user"}
    early = json.loads(audited.run("trial-balance", "--json", "--time", "2026-01-01T00:00:00Z").stdout)
    assert "lines" not in early


@pytest.fixture(scope="module")
async def rest(postgres: embedded.Server, wallets_template: str) -> AsyncIterator[httpx.AsyncClient]:
    """REST, as an admin, of a ledger with one sealed transfer."""
    for database in databases.copy(postgres, "wallets_service", of=wallets_template):
        async with wallets.running(database) as client:
            await client.fund("ana", 100)
            await client.sealed(1)
            configured = gateways.settings(auth={"hs256_secret": wallets.SECRET})
            behind = [backends.of_package("wallets", "kobklein.wallets", client.channel)]
            async with gateways.running(app.create(configured, behind, texts=comments.load()), configured) as gateway:
                token = wallets.token("admin-1", "admin")
                async with httpx.AsyncClient(
                    base_url=str(gateway.http.base_url), headers={"authorization": f"Bearer {token}"}
                ) as http:
                    yield http


async def test_the_head_over_rest_is_found_by_the_verification_over_rest(rest: httpx.AsyncClient) -> None:
    head = (await rest.get("/ledger/head")).json()
    assert (int(head["sequence"]), len(head["hash"]), len(head["signature"])) == (1, 64, 128)
    kept = {f"head.{name}": value for name, value in head.items()}
    report = (await rest.get("/ledger/verify", params=kept)).json()
    assert (report["balanced"], int(report["sealedCount"]), report["breaks"]) == (True, 1, [])
    wrong = (await rest.get("/ledger/verify", params={**kept, "head.hash": "0" * 64})).json()
    assert (wrong["balanced"], wrong["breaks"][0]["check"]) == (False, "HEAD_NOT_FOUND")


async def test_a_head_over_rest_is_what_the_command_takes(rest: httpx.AsyncClient) -> None:
    head = json_format.Parse((await rest.get("/ledger/head")).text, ledger_pb2.LedgerHead())
    assert (head.sequence, head.HasField("sealed_time")) == (1, True)


async def test_the_trial_balance_over_rest_has_decimals(rest: httpx.AsyncClient) -> None:
    answer = (await rest.get("/ledger/trial-balance", params={"basis": "EFFECTIVE", "currency": "HTG"})).json()
    (total,) = answer["totals"]
    assert (total["debitAmount"], total["balance"], answer["basis"]) == ("1.00", "0.00", "EFFECTIVE")
