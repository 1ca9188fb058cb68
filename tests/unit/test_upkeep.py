"""`make stop`, `make reset` and `make clean` end and remove this checkout's processes and files, and nothing else."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy.local import folders, process_table, runs, upkeep

CHECKOUT = Path(__file__).parents[2]
ASLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Path]:
    """A checkout, in a path with spaces and an apostrophe, in which something was made."""
    checkout = tmp_path / "my pay's" / "kob klein"
    shutil.copytree(CHECKOUT / "deploy", checkout / "deploy", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(CHECKOUT / "Makefile", checkout)
    (checkout / "protos").mkdir()
    for file in (".data/keys/private.jwk", ".venv/installed", "build/contract.binpb", "kobklein/wallets/v1/x_pb2.py"):
        (checkout / file).parent.mkdir(parents=True)
        (checkout / file).touch()
    yield checkout
    shutil.rmtree(folders.roots(checkout), ignore_errors=True)


@pytest.fixture
def asleep() -> Iterator[Callable[[Path], int]]:
    """Starts processes that do nothing."""
    children = []

    def start(folder: Path) -> int:
        children.append(subprocess.Popen(ASLEEP, cwd=folder))
        return children[-1].pid

    yield start
    for child in children:
        child.kill()
        child.wait()


def make(checkout: Path, target: str) -> tuple[int, str]:
    command = ["make", "-s", f"PYTHON={sys.executable}", target]
    ran = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False)
    return ran.returncode, ran.stdout + ran.stderr


def record(checkout: Path, *processes: process_table.ProcessIdentity) -> Path:
    """Write the record of a run whose supervisor was killed."""
    path = folders.runs(checkout) / "0.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    gone = process_table.ProcessIdentity("run", processes[0].pid, "long ago", str(checkout))
    runs.Record(path, checkout, "run", gone, {each.name: each for each in processes}).write()
    return path


def test_reset_removes_the_data_and_clean_all_that_was_made_in_any_path(checkout: Path) -> None:
    folders.sign(checkout)
    assert make(checkout, "reset")[0] == 0
    assert not (checkout / ".data").exists()
    assert not folders.roots(checkout).exists()
    assert (checkout / ".venv" / "installed").exists()
    assert make(checkout, "clean")[0] == 0
    assert {each.name for each in checkout.iterdir()} == {"Makefile", "deploy", "kobklein", "protos"}
    assert list((checkout / "kobklein").iterdir()) == list(checkout.rglob("__pycache__")) == []


@pytest.mark.parametrize("target", ["clean", "reset"])
def test_nothing_is_removed_under_a_running_system(checkout: Path, asleep: Callable[[Path], int], target: str) -> None:
    known = process_table.identity("wallets", asleep(checkout), checkout)
    record(checkout, known)
    code, said = make(checkout, target)
    assert code == 2
    assert f"KobKlein runs from this folder: wallets (pid {known.pid}). Nothing was removed" in said
    assert "make stop" in said
    assert (checkout / ".data" / "keys" / "private.jwk").exists()
    assert (checkout / ".venv" / "installed").exists()


def test_stop_ends_what_a_killed_run_left_and_says_what(checkout: Path, asleep: Callable[[Path], int]) -> None:
    known = process_table.identity("wallets", asleep(checkout), checkout)
    path = record(checkout, known)
    assert make(checkout, "stop") == (0, f"stopping wallets (pid {known.pid})\nstopped; the data stays\n")
    assert not known.runs
    assert not path.exists()
    assert make(checkout, "stop") == (0, "nothing runs from this folder\n")


@pytest.mark.parametrize(
    "changes",
    [{"started": "at another time"}, {"started": ""}, {"folder": "/"}, {"folder": ""}],
    ids=["time", "no time", "folder", "no folder"],
)
def test_a_process_that_only_has_the_id_is_left_alone(
    checkout: Path, asleep: Callable[[Path], int], changes: dict[str, str]
) -> None:
    innocent = process_table.identity("postgres", asleep(checkout), checkout)
    record(checkout, dataclasses.replace(innocent, **changes))
    assert make(checkout, "stop") == (0, "nothing runs from this folder\n")
    assert not dataclasses.replace(innocent, **changes).send(signal.SIGKILL)
    assert innocent.runs


def test_the_processes_of_a_checkout_are_left_alone_by_its_copies(
    checkout: Path, asleep: Callable[[Path], int]
) -> None:
    known = process_table.identity("wallets", asleep(checkout), checkout)
    record(checkout, known)
    copy = checkout.with_name("copy")
    shutil.copytree(checkout, copy)
    assert make(copy, "stop") == (0, "nothing runs from this folder\n")
    assert known.runs


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"checkout": 1}', '{"supervisor": {"name": "x"}}'])
def test_a_record_that_says_nothing_is_removed(checkout: Path, text: str) -> None:
    path = folders.runs(checkout) / "0.json"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    assert runs.found(path.parent, checkout) == []
    assert not path.exists()


def test_a_run_is_on_record_while_it_lasts_with_the_newest_process_of_each_name(
    tmp_path: Path, asleep: Callable[[Path], int]
) -> None:
    with runs.recorded(tmp_path / "runs", "demo", tmp_path) as run:
        pids = [asleep(tmp_path), asleep(tmp_path)]
        for pid in pids:
            run.note("wallets", pid, tmp_path)
        [found] = runs.found(tmp_path / "runs", tmp_path)
        assert str(found) == f"make demo (pid {os.getpid()}), wallets (pid {pids[1]})"
        assert json.loads(run.path.read_text())["checkout"] == str(tmp_path)
    assert runs.found(tmp_path / "runs", tmp_path) == []


def test_a_file_of_another_user_is_answered_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    said = upkeep.not_ours(PermissionError(13, "Permission denied", str(tmp_path / "lock")))
    assert f"{tmp_path / 'lock'} cannot be used: {tmp_path} belongs to" in said
    assert "you are 12345" in said
    assert f'sudo chown -R 12345 "{folders.CHECKOUT}"' in said


@pytest.mark.skipif(shutil.which("ps") is None or shutil.which("lsof") is None, reason="needs ps and lsof")
def test_processes_are_known_again_without_proc(
    tmp_path: Path, asleep: Callable[[Path], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_table, "_PROC", False)
    known = process_table.identity("wallets", asleep(tmp_path), tmp_path)
    assert known.runs
    assert not dataclasses.replace(known, started="Thu Jan  1 00:00:00 1970").runs
    assert not dataclasses.replace(known, folder="/").runs
