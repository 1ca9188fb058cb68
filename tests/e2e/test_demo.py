"""The README's demo passes, and leaves nothing behind, however it ends."""

import itertools
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

CHECKOUT = Path(__file__).parents[2]
SCENES = (
    "A user with a token, and no money yet",
    "A top-up of 100.00 USD with a good card",
    "The provider delivers its webhook three times more",
    "A card without funds",
    "A card whose bank asks the payer (3-D Secure)",
    "A payment in gourdes, recorded first and confirmed afterwards",
    "Somebody else",
    "An admin looks at the figures",
    "The books",
    "20.00 USD to a second user, with a fee of 0.25 and 1 %",
    "30.00 USD are held, and the payee takes a part",
    "40.00 USD into gourdes, at a price that is locked",
    "The statement of the dollar wallet",
    "The proof",
)
COMMAND = [sys.executable, "-m", "deploy.local", "demo"]


def start() -> subprocess.Popen[str]:
    return subprocess.Popen(COMMAND, cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def family(process: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def test_the_demo_passes() -> None:
    with start() as process:
        output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    scenes = [line for before, line in itertools.pairwise(output.splitlines()) if line and not before]
    assert tuple(scenes[:-1]) == SCENES
    assert output.count("✓") == 49
    assert re.fullmatch(r"demo: 49 checks passed in \d+ s", scenes[-1])


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
