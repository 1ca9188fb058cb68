"""Processes that are known again: by their id, the instant they were started and the folder they work in."""

import contextlib
import dataclasses
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc/self/stat").exists()
"""Linux; elsewhere `ps` and `lsof` say the same."""
_POLL_SECONDS: Final = 0.05
_STATE, _START_TIME = 0, 19  # The fields of /proc/<pid>/stat, counted from behind the command's name.


@dataclasses.dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """A process that was started here. An id alone says little: ids are given again."""

    name: str
    pid: int
    started: str
    folder: str

    @property
    def runs(self) -> bool:
        """Whether this very process still runs."""
        return started(self.pid) == self.started and _folder(self.pid) == self.folder

    def send(self, number: signal.Signals) -> bool:
        """Send a signal to this very process, and to no other that has its id by now; return whether it ran."""
        with _held(self.pid) as handle:
            if not self.runs:
                return False
            if handle is None:
                os.kill(self.pid, number)
            else:
                signal.pidfd_send_signal(handle, number)
        return True

    def wait(self, seconds: float) -> bool:
        """Wait until it has ended; return whether it has."""
        deadline = time.monotonic() + seconds
        while self.runs:
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_SECONDS)
        return True

    def __str__(self) -> str:
        return f"{self.name} (pid {self.pid})"


def identity(name: str, pid: int, folder: Path) -> ProcessIdentity:
    """Return a process that has just been started in `folder`, so that it can be told from others later."""
    return ProcessIdentity(name, pid, started(pid) or "", str(folder.resolve()))


def started(pid: int) -> str | None:
    """Return when a process was started, as the system counts it; None if there is none, or it has ended."""
    if not _PROC:
        return _asked("ps", "-o", "lstart=", "-p", str(pid)) or None
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return None if fields[_STATE] in "ZX" else f"{boot} {fields[_START_TIME]}"


def _folder(pid: int) -> str | None:
    if not _PROC:
        return next(
            (
                line[1:]
                for line in _asked("lsof", "-a", "-p", str(pid), "-d", "cwd", "-Fn").splitlines()
                if line.startswith("n")
            ),
            None,
        )
    with contextlib.suppress(OSError):  # It has ended, or is another user's and none of ours.
        return str(Path(f"/proc/{pid}/cwd").readlink()).removesuffix(" (deleted)")
    return None


def _asked(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


@contextlib.contextmanager
def _held(pid: int) -> Iterator[int | None]:
    """Hold on to a process, where the system can, so that its id is not given to another meanwhile."""
    try:
        handle = os.pidfd_open(pid) if hasattr(os, "pidfd_open") else None
    except OSError:  # It has ended, or the system cannot.
        handle = None
    try:
        yield handle
    finally:
        if handle is not None:
            os.close(handle)
