"""`make stop`, `make reset` and `make clean`. Uses the standard library alone: there may be nothing else to use."""

import os
import pwd
import shutil
import sys
from pathlib import Path
from typing import Final

from deploy.local import folders, runs

_MADE: Final = (
    ".venv",
    "build",
    ".hypothesis",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
    ".schemathesis",
    "schemathesis-report",
    "kobklein/options",
    "kobklein/payments",
    "kobklein/wallets",
    "kobklein/contract.binpb",
)


def main(arguments: list[str]) -> str | int:
    """Run the command that is named; return the exit code, or the error in words."""
    commands = {"stop": stop, "reset": reset, "clean": clean}
    if len(arguments) != 1 or arguments[0] not in commands:
        return "usage: python -m deploy.local.upkeep stop | reset | clean"
    try:
        return commands[arguments[0]](folders.CHECKOUT)
    except PermissionError as error:
        return not_ours(error)


def stop(checkout: Path) -> str | int:
    """End what runs from this checkout, and what a killed run left running."""
    found = runs.found(folders.runs(checkout), checkout)
    left = []
    for run in found:
        _say(f"stopping {run}")
        left += runs.stop(run)
    if left:
        return f"did not end: {', '.join(map(str, left))}"
    _say("stopped; the data stays" if found else "nothing runs from this folder")
    return 0


def reset(checkout: Path) -> str | int:
    """Remove the data of this checkout, and nothing else."""
    if refused := running(checkout):
        return refused
    _remove(folders.data(checkout))
    roots = folders.roots(checkout)
    if roots.exists() and os.getuid() != 0:
        _say(f"{roots} stays: it is the database of a `make run` by root. sudo make reset removes it.")
    else:
        _remove(roots)
    return 0


def clean(checkout: Path) -> str | int:
    """Remove everything that was made, data included."""
    if refused := reset(checkout):
        return refused
    for name in _MADE:
        _remove(checkout / name)
    for folder in list(checkout.rglob("__pycache__")):
        shutil.rmtree(folder)
    return 0


def running(checkout: Path) -> str | None:
    """Return the runs of this checkout, during which its files must stay, in words; None if there are none."""
    found = runs.found(folders.runs(checkout), checkout)
    if not found:
        return None
    listed = "; ".join(map(str, found))
    return f"KobKlein runs from this folder: {listed}. Nothing was removed or changed. To stop it: make stop"


def not_ours(error: PermissionError) -> str:
    """Return what to do about a file that another user made, as `sudo make run` does."""
    path = Path(error.filename or folders.CHECKOUT)
    made = next((each for each in (path, *path.parents) if _owner(each) not in (None, _name(os.getuid()))), path)
    owner, me = _owner(made) or "another user", _name(os.getuid())
    return (
        f"{path} cannot be used: {made} belongs to {owner}, who ran this before, and you are {me}. "
        f'Take it over with: sudo chown -R {me} "{folders.CHECKOUT}"; or go on with sudo.'
    )


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif path.exists() or path.is_symlink():
        path.unlink()
    else:
        return
    _say(f"removed {path}")


def _owner(path: Path) -> str | None:
    try:
        return _name(path.stat().st_uid)
    except OSError:
        return None


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201  # a command line


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
