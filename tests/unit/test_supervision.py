"""What dies is started again, with pauses that grow, until it dies too often; ports are those that are asked for."""

import contextlib
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local import ports, supervision
from deploy.local.processes import Process, StartError


@pytest.fixture
def said() -> list[str]:
    return []


def process(folder: Path, code: str) -> Process:
    command = [sys.executable, "-c", code]
    return Process("wallets", command, folder / "wallets.log", lambda: True, folder)


def test_a_process_that_dies_again_and_again_is_given_up_with_its_last_words(tmp_path: Path, said: list[str]) -> None:
    dying = process(tmp_path, "print('no such table'); raise SystemExit(3)")
    dying.start()
    with pytest.raises(StartError, match=r"wallets died 3 times in a row; [^\n]+\nno such table\n$"):
        supervision.watch([dying], said.append, pauses=(0.01, 0.02))
    log = tmp_path / "wallets.log"
    assert said == [
        f"wallets died (exit code 3); it is started again in {pause} s; its log: {log}" for pause in (0.01, 0.02)
    ]


def test_a_process_that_had_worked_begins_anew_with_the_shortest_pause(tmp_path: Path, said: list[str]) -> None:
    steady = process(tmp_path, "import time; time.sleep(600)")
    steady.start()
    now = 1000.0
    watched = supervision._Watch(steady, said.append, supervision.PAUSES, begun=now)
    for lived in (1, 1, supervision.QUICK_SECONDS):
        steady.kill()
        now += lived
        watched.look(now)
        watched.look(now + 0.4)
        assert not steady.alive
        now += 10
        watched.look(now)
        assert steady.alive
        watched.look(now)
    steady.kill()
    assert [text.partition("; ")[2].partition(";")[0] for text in said[::2]] == [
        f"it is started again in {pause} s" for pause in (0.5, 1, 0.5)
    ]
    assert said[0].startswith("wallets died (killed by SIGKILL)")
    assert said[1::2] == [text for text in said if text.startswith("wallets is back (pid ")]


def test_a_process_that_does_not_end_politely_is_ended(tmp_path: Path) -> None:
    deaf = process(
        tmp_path, "import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True); time.sleep(600)"
    )
    deaf.stop_seconds = 0.1
    deaf.ready = lambda: "1" in deaf.tail()
    deaf.restart()
    deaf.stop()
    assert deaf.end == f"killed by {signal.SIGKILL.name}"


@contextlib.contextmanager
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_a_usual_port_that_is_taken_is_replaced_and_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with taken() as port:
        monkeypatch.setattr(ports, "PREFERRED", {"gateway": port, "wallets_metrics": 0})
        chosen, sentences = ports.chosen({})
    assert chosen["gateway"] not in (0, port)
    assert chosen["wallets_metrics"] != 0
    assert sentences == [f"{port} is taken, using {chosen['gateway']} for gateway"]


def test_a_port_that_a_variable_names_is_taken_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = ports.wanted(
        {f"{name.upper()}_PORT": "0" for name in ports.PREFERRED} | {"PAYMENTS_PORT": "", "PORT": "x"}
    )
    assert wanted == dict.fromkeys(ports.PREFERRED.keys() - {"payments"}, 0)
    with taken() as port:
        free = ports.postgres.free_port()
        monkeypatch.setattr(ports, "PREFERRED", {"gateway": port, "wallets": port})
        assert ports.chosen({"gateway": free, "wallets": free}) == ({"gateway": free, "wallets": free}, [])
        with pytest.raises(ports.PortError, match=rf"WALLETS_PORT={port}: this port is taken"):
            ports.chosen({"gateway": free, "wallets": port})


@pytest.mark.parametrize("text", ["x", "-1", "65536", "1.5", "٣", "9" * 5000])
def test_a_port_that_is_none_is_refused_by_its_name(text: str) -> None:
    with pytest.raises(ports.PortError, match=r"^GATEWAY_PORT=.*: must be a port, 0 to 65535"):
        ports.wanted({"GATEWAY_PORT": text})
