"""Checks that the protos break nobody who was built against the main branch's."""

import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Final

_PROTOS: Final = "protos"
_NEW: Final = "build/contract.binpb"


def main() -> int:
    """Compile the protos of the main branch and compare them with today's; return the exit code."""
    base = _base()
    if base is None:
        print("breaking: there is no earlier contract to compare with")  # noqa: T201  # a command line
        return 0
    with tempfile.TemporaryDirectory() as folder:
        old = _compiled(Path(folder), base)
        arguments = ["breaking", _NEW, "--against", str(old), "--config", f"{_PROTOS}/buf.yaml"]
        return subprocess.run([str(Path(sys.executable).with_name("buf")), *arguments], check=False).returncode


def _base() -> str | None:
    """Return the commit that the main branch was at: what was published, or on it, the commit before this one."""
    for candidate in ("origin/main", "main", "HEAD~1"):
        commit = _git("rev-parse", "--verify", "--quiet", candidate).strip()
        if commit and commit != _git("rev-parse", "HEAD").strip() and _git("ls-tree", commit, _PROTOS):
            return commit
    return None


def _compiled(folder: Path, commit: str) -> Path:
    archive = subprocess.run(["git", "archive", commit, _PROTOS], capture_output=True, check=True).stdout  # noqa: S607  # git is on the path
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive, check=True)  # noqa: S607  # so is tar
    protos = folder / _PROTOS
    out = folder / "old.binpb"
    files = [str(path) for path in sorted(protos.rglob("*.proto"))]
    include = [f"-I{protos}", f"-I{sysconfig.get_path('purelib')}"]
    command = [sys.executable, "-m", "grpc_tools.protoc", *include, "--include_imports", f"--descriptor_set_out={out}"]
    subprocess.run([*command, *files], check=True)
    return out


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], capture_output=True, text=True, check=False).stdout  # noqa: S607  # git is on the path


if __name__ == "__main__":
    sys.exit(main())
