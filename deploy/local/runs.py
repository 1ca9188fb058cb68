"""Records of the runs of this checkout: later commands find there what runs, and what a killed run left behind."""

import contextlib
import dataclasses
import json
import os
import secrets
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from deploy.local import process_table
from deploy.local.process_table import ProcessIdentity

_SUPERVISOR_SECONDS: Final = 60
_STOP_SECONDS: Final = 15
_SIGNALS: Final = (signal.SIGTERM, signal.SIGKILL)
_POSTGRES_SIGNALS: Final = (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL)  # Fast, then at once, then for good.


@dataclasses.dataclass(slots=True)
class Record:
    """What a run writes down about itself, while it runs."""

    path: Path
    checkout: Path
    command: str
    supervisor: ProcessIdentity
    processes: dict[str, ProcessIdentity] = dataclasses.field(default_factory=dict)

    def note(self, name: str, pid: int, folder: Path) -> None:
        """Write down a process that has just been started in `folder`, in the place of an earlier one of its name."""
        self.processes[name] = process_table.identity(name, pid, folder)
        self.write()

    def write(self) -> None:
        """Write the whole record, so that a reader finds the old one or the new one."""
        fields = {
            "checkout": str(self.checkout),
            "command": self.command,
            "supervisor": dataclasses.asdict(self.supervisor),
            "processes": [dataclasses.asdict(each) for each in self.processes.values()],
        }
        unfinished = self.path.with_suffix(".unfinished")
        unfinished.write_text(json.dumps(fields))
        unfinished.replace(self.path)


@dataclasses.dataclass(frozen=True, slots=True)
class Run:
    """A run of which something still runs."""

    path: Path
    command: str
    supervisor: ProcessIdentity | None
    """None once it has ended; the processes that it started are orphans then."""
    processes: tuple[ProcessIdentity, ...]

    def __str__(self) -> str:
        supervisor = [f"make {self.command} (pid {self.supervisor.pid})"] if self.supervisor else []
        return ", ".join([*supervisor, *map(str, self.processes)])


@contextlib.contextmanager
def recorded(folder: Path, command: str, checkout: Path) -> Iterator[Record]:
    """Keep a record of this process's run in `folder` while it lasts."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    supervisor = process_table.identity(command, os.getpid(), Path.cwd())
    record = Record(folder / f"{secrets.token_hex(8)}.json", checkout, command, supervisor)
    record.write()
    try:
        yield record
    finally:
        record.path.unlink(missing_ok=True)


def found(folder: Path, checkout: Path) -> list[Run]:
    """Return the runs of `checkout` of which something runs, and remove the records of all others."""
    runs = []
    for path in sorted(folder.glob("*.json")):
        run = _read(path, checkout)
        if run is None or not (run.supervisor or run.processes):
            path.unlink(missing_ok=True)
        else:
            runs.append(run)
    return runs


def stop(run: Run) -> list[ProcessIdentity]:
    """End a run and its processes; return the processes that did not end."""
    if run.supervisor and run.supervisor.send(signal.SIGTERM):
        run.supervisor.wait(_SUPERVISOR_SECONDS)
    left = [run.supervisor] if run.supervisor and run.supervisor.runs else []
    left += [process for process in reversed(run.processes) if not _ended(process)]
    if not left:
        run.path.unlink(missing_ok=True)
    return left


def _ended(process: ProcessIdentity) -> bool:
    for number in _POSTGRES_SIGNALS if process.name == "postgres" else _SIGNALS:
        if not process.send(number) or process.wait(_STOP_SECONDS):
            return True
    return False


def _read(path: Path, checkout: Path) -> Run | None:
    """Return what still runs of a record; None if it is not of this checkout, such as in a copy of another one."""
    try:
        fields: dict[str, Any] = json.loads(path.read_text())
        supervisor = ProcessIdentity(**fields["supervisor"])
        processes = [ProcessIdentity(**each) for each in fields["processes"]]
        ours = fields["checkout"] == str(checkout)
        command = str(fields["command"])
    except (ValueError, KeyError, TypeError, FileNotFoundError):
        return None
    if not ours:
        return None
    running = tuple(process for process in processes if process.runs)
    return Run(path, command, supervisor if supervisor.runs else None, running)
