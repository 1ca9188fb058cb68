"""The README's demo passes, and leaves nothing behind, however it ends."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

CHECKOUT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "deploy.local", "demo"]


def start() -> subprocess.Popen[str]:
    return subprocess.Popen(COMMAND, cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def family(process: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def test_the_demo_passes() -> None:
    with start() as process:
        output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    assert output.strip().splitlines()[-1] == "demo: 27 checks passed"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_demo_leaves_no_process_behind(number: signal.Signals) -> None:
    with start() as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "A top-up" in line:
                break
        children = family(process)
        os.kill(process.pid, number)
        process.stdout.read()
        assert process.wait(timeout=60) == 130
    assert len(children) >= 5
    assert [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE] == []
