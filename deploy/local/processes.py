"""Child processes: started with their own log, waited for until they answer, stopped politely and then for good."""

import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

START_SECONDS: Final = 60
STOP_SECONDS: Final = 15
_POLL_SECONDS: Final = 0.05


Question = Callable[[], bool]
"""Asks a process whether it can work; whatever it raises means no."""


class StartError(RuntimeError):
    """A process ended or stayed silent instead of getting ready; the message holds the end of its log."""


@dataclasses.dataclass(slots=True)
class Process:
    """One of the system's processes; it can be killed and started again on the same port."""

    name: str
    arguments: list[str]
    environment: Mapping[str, str]
    log: Path
    ready: Question
    _child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The id of the running process."""
        return self._running.pid

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._child is not None and self._child.poll() is None

    def start(self) -> None:
        """Start without waiting."""
        with self.log.open("ab") as output:
            self._child = subprocess.Popen(
                [sys.executable, *self.arguments],
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # A Ctrl-C is for the parent, which stops its children in order.
            )

    def wait_until_ready(self) -> None:
        """Wait until the process can work; raises StartError."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._running.poll() is None:
            with contextlib.suppress(Exception):  # Whatever it cannot do yet, it is asked again.
                if self.ready():
                    return
            time.sleep(_POLL_SECONDS)
        raise StartError(f"{self.name} did not get ready; the end of {self.log}:\n{self._tail()}")

    def stop(self) -> None:
        """Ask the process to end, and end it if it does not."""
        if not self.alive:
            return
        self._running.terminate()
        try:
            self._running.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End the process on the spot, as a crash would."""
        self._running.send_signal(signal.SIGKILL)
        self._running.wait()

    def restart(self) -> None:
        """Start the process again, and wait until it is ready."""
        self.start()
        self.wait_until_ready()

    @property
    def _running(self) -> subprocess.Popen[bytes]:
        if self._child is None:
            raise RuntimeError(f"{self.name} was never started")
        return self._child

    def _tail(self) -> str:
        return self.log.read_text(errors="replace")[-3000:]
