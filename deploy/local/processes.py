"""Child processes: started with their own log, waited for until they answer, stopped politely and then for good."""

import contextlib
import dataclasses
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

START_SECONDS: Final = 60
_POLL_SECONDS: Final = 0.05

Question = Callable[[], bool]
"""Asks a process whether it can work; whatever it raises means no."""
Started = Callable[["Process"], None]
"""Is told of each process as it is started."""


def untold(_process: "Process") -> None:
    """Tell no one."""


class StartError(RuntimeError):
    """A process ended or stayed silent instead of getting ready; the message holds the end of its log."""


@dataclasses.dataclass(slots=True)
class Process:
    """One of the system's processes; it can be killed and started again on the same port."""

    name: str
    command: list[str]
    log: Path
    ready: Question
    folder: Path
    """The folder it works in."""
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)
    account: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Arguments of subprocess that name the user it runs as, where that is another one."""
    started: Started = untold
    stop_signals: tuple[signal.Signals, signal.Signals] = (signal.SIGTERM, signal.SIGKILL)
    stop_seconds: float = 15
    _child: subprocess.Popen[bytes] | None = None
    _log_start: int = 0

    @property
    def pid(self) -> int:
        """The id of the running process."""
        return self._running.pid

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._child is not None and self._child.poll() is None

    @property
    def end(self) -> str:
        """How the process ended."""
        code = self._running.returncode
        return f"killed by {signal.Signals(-code).name}" if code and code < 0 else f"exit code {code}"

    def start(self) -> None:
        """Start without waiting."""
        with self.log.open("ab") as output:
            self._log_start = output.tell()
            self._child = subprocess.Popen(
                self.command,
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # A Ctrl-C is for the parent, which stops its children in order.
                cwd=self.folder,
                **self.account,
            )
        self.started(self)

    def wait_until_ready(self) -> None:
        """Wait until the process can work; raises StartError."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._running.poll() is None:
            if self.answers():
                return
            time.sleep(_POLL_SECONDS)
        raise StartError(f"{self.name} did not get ready; the end of {self.log}:\n{self.tail()}")

    def answers(self) -> bool:
        """Ask once whether the process can work."""
        with contextlib.suppress(Exception):  # Whatever it cannot do yet, it is asked again.
            return self.ready()
        return False

    def wait_until_done(self) -> None:
        """Wait until a process that has an end of its own has reached it; raises StartError if it failed."""
        try:
            code = self._running.wait(START_SECONDS)
        except subprocess.TimeoutExpired:
            code = None
        if code != 0:
            raise StartError(f"{self.name} did not end well; the end of {self.log}:\n{self.tail()}")

    def stop(self) -> None:
        """Ask the process to end, and end it if it does not."""
        for number in self.stop_signals:
            if not self.alive:
                return
            self._running.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._running.wait(self.stop_seconds)
        if self.alive:
            self.kill()

    def kill(self) -> None:
        """End the process on the spot, as a crash would."""
        self._running.send_signal(signal.SIGKILL)
        self._running.wait()

    def restart(self) -> None:
        """Start the process again, and wait until it is ready."""
        self.start()
        self.wait_until_ready()

    def tail(self) -> str:
        """Return the end of the process's log since its last start."""
        with self.log.open("rb") as log:
            log.seek(max(self._log_start, self.log.stat().st_size - 3000))
            return log.read().decode(errors="replace")

    @property
    def _running(self) -> subprocess.Popen[bytes]:
        if self._child is None:
            raise RuntimeError(f"{self.name} was never started")
        return self._child
