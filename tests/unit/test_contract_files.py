"""The contract compiles for others: from `build/contract` alone, by every compiler that is here."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2

from deploy import contract

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like `build/contract`, far from this checkout."""
    folder = tmp_path_factory.mktemp("contract")
    (folder / "left.proto").touch()
    contract.write(folder)
    return folder


def ours(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.glob("kobklein/**/*.proto"))


def protoc(folder: Path, *outputs: str) -> None:
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{folder}", *outputs, *ours(folder)]
    subprocess.run(command, check=True, cwd=folder)


def test_it_is_our_protos_and_those_of_google_that_they_import(folder: Path) -> None:
    there = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    mine = {str(path.relative_to(CHECKOUT / "protos")) for path in (CHECKOUT / "protos").rglob("*.proto")}
    assert there == mine | {f"google/api/{name}.proto" for name in ("annotations", "http", "httpbody")}


def test_buf_builds_it_as_it_stands(folder: Path) -> None:
    buf = Path(sys.executable).with_name("buf")
    built = subprocess.run([buf, "build", "-o", "/dev/null"], cwd=folder, capture_output=True, text=True, check=False)
    assert (built.returncode, built.stderr) == (0, "")


def test_each_package_is_one_go_package(folder: Path, tmp_path: Path) -> None:
    protoc(folder, f"--descriptor_set_out={tmp_path / 'set'}")
    files = descriptor_pb2.FileDescriptorSet.FromString((tmp_path / "set").read_bytes()).file
    assert len(files) == len(ours(folder)) > 8
    for file in files:
        _, name, version = file.package.split(".")
        assert file.options.go_package == f"kobklein/{name}/{version};{name}{version}", file.name


@pytest.mark.skipif(shutil.which("protoc-gen-go") is None, reason="needs the plugin for Go")
def test_protoc_generates_go(folder: Path, tmp_path: Path) -> None:
    protoc(folder, f"--go_out={tmp_path}", "--go_opt=module=kobklein")
    assert "package paymentsv1" in (tmp_path / "payments" / "v1" / "payments.pb.go").read_text()


def test_the_examples_compile_what_they_need() -> None:
    guide = (CHECKOUT / "docs" / "grpc.md").read_text()
    named = re.findall(r"kobklein/\w+/v1/\w+\.proto", guide)
    assert named
    assert [name for name in named if not (CHECKOUT / "protos" / name).exists()] == []
