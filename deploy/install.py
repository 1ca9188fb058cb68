"""Makes the virtual environment and fills it with packages that are pinned by hash, showing how far it is.

The Makefile runs it under the Python that the environment is for, when nothing is installed yet: it uses the standard
library alone.
"""

import re
import subprocess
import sys
import time
import venv
from pathlib import Path
from typing import Final

from deploy.local import folders, upkeep

FOLDER: Final = Path(".venv")
_PIP: Final = ("-m", "pip", "install", "--disable-pip-version-check", "--progress-bar=off", "--require-hashes", "-r")
_HANDLED: Final = re.compile(r"(?:Collecting|Requirement already satisfied:|Ignoring) ([\w.-]+)")
_STEP: Final = 10
"""Where the output is no terminal, every tenth package is a line of its own."""


def main(arguments: list[str]) -> str | int:
    """Run the command of the Makefile; return the exit code, or the error in words."""
    match arguments:
        case ["check"]:
            return check(FOLDER, sys.version_info[:2])
        case ["new", lock]:
            if refused := upkeep.running(folders.CHECKOUT):
                return refused
            venv.create(FOLDER, clear=True, with_pip=True, symlinks=True)
            return install(Path(lock))
        case ["add", lock]:
            return install(Path(lock))
    return "usage: python -m deploy.install check | new LOCK | add LOCK"


def check(folder: Path, wanted: tuple[int, int]) -> str | int:
    """Return an error if the environment in `folder` was made with another Python than `wanted`; 0 if nothing."""
    configuration = folder / "pyvenv.cfg"
    if not configuration.exists():
        return 0
    found = re.search(r"^version\S*\s*=\s*(\d+)\.(\d+)", configuration.read_text(), re.MULTILINE)
    if found is None or (int(found[1]), int(found[2])) == wanted:
        return 0
    major, minor = wanted
    return (
        f"{folder} was made with Python {found[1]}.{found[2]}, and PYTHON is {major}.{minor}. To change it: make stop, "
        f"rm -r {folder}, and the same command again. To keep it: the same command without PYTHON."
    )


def install(lock: Path) -> str | int:
    """Install what `lock` names; return 0, or what went wrong."""
    begun, total = time.monotonic(), sum(" \\" in line and "==" in line for line in lock.read_text().splitlines())
    _say(f"Installing {total} packages of {lock} into {FOLDER} …")
    command = [str(FOLDER / "bin" / "python"), *_PIP, str(lock)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, bufsize=1) as pip:
        assert pip.stdout is not None  # noqa: S101  # for mypy: it is a pipe
        show, handled = _terminal if sys.stderr.isatty() else _lines, 0
        for line in pip.stdout:
            if package := _HANDLED.match(line):
                handled += 1
                show(handled, total, package[1])
            elif line.startswith("Installing collected packages"):
                _say("\r\x1b[K" * sys.stderr.isatty() + "  all are here; putting them in place …")
    if pip.returncode:
        return f"pip could not install {lock}; its output is above. A network that reaches a package index is needed."
    _say(f"Installed in {time.monotonic() - begun:.0f} s.")
    return 0


def _terminal(handled: int, total: int, package: str) -> None:
    print(f"\r\x1b[K  {handled}/{total} {package}", end="", file=sys.stderr, flush=True)  # noqa: T201  # a command line


def _lines(handled: int, total: int, package: str) -> None:
    if handled % _STEP == 0:
        _say(f"  {handled}/{total} {package}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201  # a command line


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
