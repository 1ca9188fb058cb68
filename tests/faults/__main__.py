"""`python -m tests.faults`: plants one fault after the other in a copy of the code, and sees if its test turns red.

Names on the command line choose some of them; exit 1 if one goes uncaught.
"""

import dataclasses
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import rich.console
import rich.progress

from tests.faults import FAULTS, ROOT, Fault

_GENERATED: Final = (
    "build/contract.binpb",
    "kobklein/contract.binpb",
    "kobklein/options",
    "kobklein/payments",
    "kobklein/wallets",
)
_SECONDS: Final = 600
_SOUND_SECONDS: Final = 1_800
"""For all the tests, one after the other."""
_LEAVING_SECONDS: Final = 60
"""How long tests that are told to stop may take to put away what they started."""


@dataclasses.dataclass(frozen=True, slots=True)
class Run:
    """What became of some tests."""

    exit_code: int
    output: str
    hung: bool = False

    def caught(self, fault: Fault) -> bool:
        """Return whether the fault's test failed or hung; an error around it, as in a fixture, is neither."""
        return self.hung or any(line.startswith(f"FAILED {fault.test}") for line in self.output.splitlines())


def main() -> int:
    """Plant the faults; return the exit code."""
    console = rich.console.Console()
    chosen = [fault for fault in FAULTS if not sys.argv[1:] or fault.name in sys.argv[1:]]
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "project"
        _copy(copy)
        sound = _run(copy, sorted({fault.test for fault in chosen}), seconds=_SOUND_SECONDS)
        if sound.exit_code or sound.hung:
            console.print(sound.output, markup=False)
            console.print("[red]without a fault, the tests are not green")
            return 1
        runs = [(fault, _planted(copy, fault)) for fault in rich.progress.track(chosen, console=console)]
    uncaught = [fault for fault, run in runs if not run.caught(fault)]
    for fault, run in runs:
        if run.hung:
            console.print(f"caught by hanging: {fault.name} ({fault.test})")
    for fault in uncaught:
        console.print(f"[red]uncaught: {fault.name} ({fault.test})")
    console.print(f"faults: {len(chosen) - len(uncaught)} of {len(chosen)} caught")
    return 1 if uncaught else 0


def _copy(target: Path) -> None:
    """Copy what is tracked or new, and what is generated from it."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,  # git is on the path
    )
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    for name in _GENERATED:
        source = ROOT / name
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target / name, dirs_exist_ok=True)
        else:
            shutil.copy2(source, target / name)


def _planted(copy: Path, fault: Fault) -> Run:
    file = copy / fault.file
    text = file.read_text()
    file.write_text(text.replace(fault.before, fault.after))
    try:
        return _run(copy, [fault.test])
    finally:
        file.write_text(text)


def _run(copy: Path, tests: Sequence[str], *, seconds: int = _SECONDS) -> Run:
    """Run tests; those that hang are interrupted, so that they put their servers away, and ended if that hangs too."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
    with subprocess.Popen(command, cwd=copy, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as running:
        try:
            output, _ = running.communicate(timeout=seconds)
            return Run(running.returncode, output)
        except subprocess.TimeoutExpired:
            running.send_signal(signal.SIGINT)
            try:
                output, _ = running.communicate(timeout=_LEAVING_SECONDS)
            except subprocess.TimeoutExpired:
                running.kill()
                output, _ = running.communicate()
            return Run(running.returncode, output, hung=True)


if __name__ == "__main__":
    sys.exit(main())
