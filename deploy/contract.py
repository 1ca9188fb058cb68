"""Writes the contract as others compile it: our protos, and those of Google that they import, in one folder."""

import shutil
import sys
import sysconfig
from pathlib import Path
from typing import Final

from google.protobuf import descriptor_pb2

_COMPILED: Final = Path("build/contract.binpb")
_PROTOS: Final = Path("protos")
_WITH_EVERY_COMPILER: Final = "google/protobuf/"
"""Every compiler brings these along."""


def main(arguments: list[str]) -> str | int:
    """Write the folder that is named, as it was never there."""
    if len(arguments) != 1:
        return "usage: python -m deploy.contract FOLDER"
    write(Path(arguments[0]))
    return 0


def write(folder: Path) -> None:
    """Write every file that the compiled contract is made of to `folder`, whose former content goes."""
    shutil.rmtree(folder, ignore_errors=True)
    compiled = descriptor_pb2.FileDescriptorSet.FromString(_COMPILED.read_bytes())
    for name in (each.name for each in compiled.file if not each.name.startswith(_WITH_EVERY_COMPILER)):
        source = next(
            found for root in (_PROTOS, Path(sysconfig.get_path("purelib"))) if (found := root / name).exists()
        )
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, folder / name)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
