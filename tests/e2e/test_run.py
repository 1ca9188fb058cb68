"""`make run`, from its start over deaths and kills to `make stop`, in a checkout of its own."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from deploy.local import folders, postgres
from tests.e2e import system

CHECKOUT = Path(__file__).parents[2]
PARTS = ("deploy", "gateway", "kobklein", "payments_service", "wallets_service")


class Run:
    """A checkout, and `python -m deploy.local run` in it."""

    def __init__(self, checkout: Path) -> None:
        self.checkout = checkout
        self.process: subprocess.Popen[str] | None = None
        self.output = checkout / "output"
        self.environment = {**os.environ, "COLUMNS": "500", "PAYMENTS_LOG_JSON": "true"}
        self.environment |= {f"{name}_PORT": str(postgres.free_port()) for name in ("GATEWAY", "PAYMENTS", "WALLETS")}
        self.environment |= {f"{name}_PORT": "0" for name in ("PAYMENTS_METRICS", "WALLETS_METRICS")}

    def start(self) -> None:
        with self.output.open("w") as output:
            command = [sys.executable, "-m", "deploy.local", "run"]
            self.process = subprocess.Popen(
                command, cwd=self.checkout, env=self.environment, stdout=output, stderr=output, text=True
            )

    def until(self, words: str) -> str:
        """Wait until this is said, and return all that was."""
        system.until(lambda: words in self.said or not self.lives, what=f"{words!r} in what `make run` says")
        assert words in self.said, self.said
        return self.said

    @property
    def said(self) -> str:
        return self.output.read_text()

    @property
    def lives(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def family(self) -> list[psutil.Process]:
        assert self.process is not None
        return psutil.Process(self.process.pid).children(recursive=True)

    def child(self, words: str) -> psutil.Process:
        return next(each for each in self.family if words in " ".join(each.cmdline()))

    def command(self, *arguments: str) -> tuple[int, str]:
        ran = subprocess.run(
            [sys.executable, "-m", *arguments], cwd=self.checkout, capture_output=True, text=True, check=False
        )
        return ran.returncode, ran.stdout + ran.stderr

    def exports(self) -> dict[str, str]:
        text = (self.checkout / ".data" / "tokens.env").read_text()
        return dict(re.findall(r"^export (\w+)='?([^'\n]+)'?$", text, re.MULTILINE))


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    checkout = tmp_path / "kob klein"
    for part in PARTS:
        shutil.copytree(CHECKOUT / part, checkout / part)
    run = Run(checkout)
    yield run
    run.command("deploy.local.upkeep", "stop")
    if run.process is not None:
        run.process.wait()
    run.command("deploy.local.upkeep", "reset")


def ended(processes: list[psutil.Process]) -> bool:
    return not [each for each in processes if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]


def test_the_system_runs_as_asked_survives_deaths_and_can_be_stopped_and_removed(run: Run) -> None:
    with socket.socket() as taker:
        taker.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taker.bind(("127.0.0.1", 12111))
            taker.listen()
        except OSError:
            pass  # Another process has taken it already.
        run.start()
        said = run.until("Ctrl-C stops everything")
    exports = run.exports()
    _is_as_asked(run, said, exports)
    _shows_no_secret(run, exports)
    _refuses_to_run_twice_and_to_be_removed(run)
    _starts_again_what_dies(run, exports)
    orphans = run.family
    assert run.process is not None
    run.process.kill()
    run.process.wait()
    assert not ended(orphans)
    run.start()
    assert re.search(r"an earlier make run was killed, and left postgres \(pid \d+\), sandbox", run.until("is up"))
    assert ended(orphans)
    run.until("Ctrl-C stops everything")
    family = run.family
    code, said = run.command("deploy.local.upkeep", "stop")
    assert (code, said.splitlines()[-1]) == (0, "stopped; the data stays")
    assert run.process.wait(timeout=60) == 0
    assert run.said.endswith("\nstopped\n")
    assert ended(family)
    assert "ERROR" not in (folders.database(run.checkout) / "postgres.log").read_text()
    assert run.command("deploy.local.upkeep", "reset")[0] == 0
    assert {each.name for each in run.checkout.iterdir()} == {*PARTS, "output"}
    assert not folders.roots(run.checkout).exists()


def _is_as_asked(run: Run, said: str, exports: dict[str, str]) -> None:
    assert exports["API"] == f"http://127.0.0.1:{run.environment['GATEWAY_PORT']}"
    assert exports["WALLETS"] == f"127.0.0.1:{run.environment['WALLETS_PORT']}"
    assert f"12111 is taken, using {exports['SANDBOX'].rpartition(':')[2]} for sandbox" in said
    assert (run.checkout / ".data" / "logs" / "payments.log").read_text().startswith("{")  # PAYMENTS_LOG_JSON
    urls = re.findall(r"metrics of (\w+) +│ (\S+)", said)
    assert [name for name, _ in urls] == ["gateway", "payments", "wallets"]
    assert all("python_info" in httpx.get(url).text for _, url in urls)
    code, token = run.command("deploy.local", "token", "--role", "user,merchant", "--subject", "user-3")
    assert (code, len(token.split())) == (0, 1)
    for person, bearer in {"user-1": exports["USER_TOKEN"], "user-2": exports["USER_2_TOKEN"], "user-3": token}.items():
        wallets = f"{exports['API']}/wallets/user/{person}"
        assert httpx.get(wallets, headers={"Authorization": f"Bearer {bearer.strip()}"}).json()["wallets"] == []
    code, refused = run.command("deploy.local", "token", "--role", "boss", "--subject", "user-3")
    assert (code, "boss is none of admin, distributor" in refused) == (2, True)


def _shows_no_secret(run: Run, exports: dict[str, str]) -> None:
    """Look at the arguments of every process, which every user of the machine can read."""
    keys = [
        key.read_text() for key in (run.checkout / ".data" / "keys").iterdir() if key.suffix not in (".jwk", ".json")
    ]
    password = (folders.database(run.checkout) / "password").read_text()
    secrets = [*keys, password, "whsec_", "sk_test", *(value for name, value in exports.items() if "TOKEN" in name)]
    assert len(keys) >= 6
    arguments = [each.cmdline() for each in run.family]
    assert len([each for each in arguments if each]) >= 5
    assert [(secret, each) for secret in secrets for each in arguments if secret in " ".join(each)] == []
    assert exports["USER_TOKEN"] not in run.said


def _refuses_to_run_twice_and_to_be_removed(run: Run) -> None:
    code, said = run.command("deploy.local", "run")
    assert (code, f"another process (pid {run.process and run.process.pid}) runs on" in said) == (1, True)
    for command in ("clean", "reset"):
        code, said = run.command("deploy.local.upkeep", command)
        assert (code, "Nothing was removed" in said, "make stop" in said) == (1, True, True)


def _starts_again_what_dies(run: Run, exports: dict[str, str]) -> None:
    for name, words in {"postgres": "postgres -D", "payments": "payments_service"}.items():
        child = run.child(words)
        os.kill(child.pid, signal.SIGKILL)
        assert f"{name} died (killed by SIGKILL); it is started again in 0.5 s" in run.until(f"{name} is back (pid ")
    system.until(lambda: httpx.get(f"{exports['API']}/readyz").status_code == 200, what="that all is well again")
