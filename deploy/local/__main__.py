"""`python -m deploy.local demo`, `run` and `token`."""

import contextlib
import fcntl
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final, TextIO

import rich.console
import typer

from deploy.local import (
    checks,
    folders,
    identity,
    overview,
    ports,
    postgres,
    processes,
    runs,
    stack,
    supervision,
    upkeep,
)
from deploy.local import demo as story
from kobklein import configuration, contract, subjects

_USAGE: Final = 2
"""Exit code for arguments that cannot be used."""
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
app = typer.Typer(help="The whole system on one machine.", no_args_is_help=True, pretty_exceptions_enable=False)
console = rich.console.Console(soft_wrap=True)


@app.command()
def demo() -> None:
    """Play the main job on a throw-away stack; exit with 1 if anything is not as it should be."""
    report = checks.Report(console)
    with (
        _clean_exit(interrupted=130),
        _recorded("demo") as started,
        tempfile.TemporaryDirectory(prefix="kobklein-demo-") as folder,
        postgres.temporary(started=started) as database,
    ):
        console.print("Starting PostgreSQL, both services, the gateway and the sandbox …")
        with stack.running(Path(folder), database=database, started=started) as running:
            story.play(running, report)
    sys.exit(report.close())


@app.command()
def run() -> None:
    """Keep the system running until Ctrl-C; its data is there again at the next start."""
    outside = configuration.read(stack.Environment)
    folder = folders.data(folders.CHECKOUT)
    with _clean_exit(interrupted=0), _alone(folder), _recorded("run") as started, contextlib.ExitStack() as exits:
        chosen, sentences = ports.chosen(ports.wanted())
        for sentence in sentences:
            _loudly(sentence)
        console.print("Starting PostgreSQL, both services, the gateway and the sandbox …")
        database = None
        if outside.payments_database_url is None or outside.wallets_database_url is None:
            folders.sign(folders.CHECKOUT)
            database = exits.enter_context(postgres.running(folders.database(folders.CHECKOUT), started=started))
        running = exits.enter_context(
            stack.running(folder, database=database, outside=outside, ports=chosen, started=started)
        )
        overview.show(console, running, folder)
        supervision.watch([*([database.process] if database else []), *running.processes.values()], _loudly)


@app.command()
def token(
    role: Annotated[list[str], typer.Option(help="A role; several by repeating it, or with commas.")],
    subject: Annotated[str, typer.Option(help="Whose token it is, such as user-2.")],
) -> None:
    """Print an access token for the system that `run` keeps, good for a day."""
    roles = [name for each in role for name in each.replace(",", " ").split()]
    if unknown := sorted(set(roles) - contract.ROLES):
        _refuse(f"ROLE: {', '.join(unknown)} is none of {', '.join(sorted(contract.ROLES))}", _USAGE)
    if not roles:
        _refuse(f"ROLE is needed: one or more of {', '.join(sorted(contract.ROLES))}", _USAGE)
    if not subject.strip():
        _refuse("SUBJECT is needed, such as user-2", _USAGE)
    if not subjects.valid(subject):
        _refuse(f"SUBJECT {subjects.RULE}", _USAGE)
    with _clean_exit(interrupted=130):
        typer.echo(identity.load(folders.data(folders.CHECKOUT) / "keys").token(subject, *roles))


@contextlib.contextmanager
def _clean_exit(*, interrupted: int) -> Iterator[None]:
    """Turn Ctrl-C, SIGTERM and a closed terminal into leaving every block in order, with one line."""
    for number in _SIGNALS:
        signal.signal(number, _leave)
    try:
        yield
    except KeyboardInterrupt:
        console.print("\nstopped")
        sys.exit(interrupted)
    except PermissionError as error:
        _refuse(f"cannot start: {upkeep.not_ours(error)}")
    except (processes.StartError, ValueError) as error:
        _refuse(f"cannot start: {error}")


def _leave(*_: Any) -> None:
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)  # What follows is the way out, and it is not to be interrupted.
    raise KeyboardInterrupt


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Refuse to run twice on the same data."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"{_holder(lock)} runs on {folder}; make stop ends it") from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def _holder(lock: TextIO) -> str:
    lock.seek(0)
    return f"another process (pid {lock.read()})"


@contextlib.contextmanager
def _recorded(command: str) -> Iterator[processes.Started]:
    """End what a killed run left behind, and write down what this one starts."""
    folder = folders.runs(folders.CHECKOUT)
    for run in runs.found(folder, folders.CHECKOUT):
        if run.supervisor is None:
            _loudly(f"an earlier make {run.command} was killed, and left {run}; ending that first")
            if left := runs.stop(run):
                raise ValueError(f"did not end: {', '.join(map(str, left))}")
    with runs.recorded(folder, command, folders.CHECKOUT) as record:
        yield lambda process: record.note(process.name, process.pid, process.folder)


def _loudly(text: str) -> None:
    console.print(text, style="bold yellow", markup=False, highlight=False)


def _refuse(text: str, status: int = 1) -> None:
    rich.console.Console(stderr=True, soft_wrap=True).print(text, style="red", markup=False, highlight=False)
    sys.exit(status)


if __name__ == "__main__":
    app()
