"""`python -m deploy.local demo` and `python -m deploy.local run`."""

import contextlib
import fcntl
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import rich.console
import typer

from deploy.local import checks, overview, postgres, processes, stack
from deploy.local import demo as story
from kobklein import configuration

CHECKOUT: Final = Path(__file__).parents[2]
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
app = typer.Typer(help="The whole system on one machine.", no_args_is_help=True, pretty_exceptions_enable=False)
console = rich.console.Console(soft_wrap=True)


@app.command()
def demo() -> None:
    """Play the main job on a throw-away stack; exit with 1 if anything is not as it should be."""
    report = checks.Report(console)
    with (
        _clean_exit(),
        tempfile.TemporaryDirectory(prefix="kobklein-demo-") as folder,
        postgres.temporary() as database,
    ):
        console.print("Starting PostgreSQL, both services, the gateway and the sandbox …")
        with stack.running(Path(folder), database=database) as running:
            story.play(running, report)
    sys.exit(report.close())


@app.command()
def run() -> None:
    """Keep the system running until Ctrl-C; its data is there again at the next start."""
    outside = configuration.read(stack.Environment)
    folder = CHECKOUT / ".data"
    with _clean_exit(), _alone(folder), contextlib.ExitStack() as exits:
        database = None
        if outside.payments_database_url is None or outside.wallets_database_url is None:
            database = exits.enter_context(postgres.running(postgres.folder_for(CHECKOUT)))
        ports = stack.preferred_ports()
        running = exits.enter_context(stack.running(folder, database=database, outside=outside, ports=ports))
        overview.show(console, running, folder)
        signal.pause()


@contextlib.contextmanager
def _clean_exit() -> Iterator[None]:
    """Turn Ctrl-C, SIGTERM and a closed terminal into leaving every block in order, with one line."""
    for number in _SIGNALS:
        signal.signal(number, _leave)
    try:
        yield
    except KeyboardInterrupt:
        console.print("\nstopped")
        sys.exit(130)
    except (processes.StartError, postgres.StartError, ValueError) as error:
        console.print(f"cannot start: {error}", style="red", markup=False, highlight=False)
        sys.exit(1)


def _leave(*_: Any) -> None:
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)  # What follows is the way out, and it is not to be interrupted.
    raise KeyboardInterrupt


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Refuse to run twice on the same data."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"another process is running on {folder}") from None
        lock.write(str(os.getpid()))
        yield


if __name__ == "__main__":
    app()
