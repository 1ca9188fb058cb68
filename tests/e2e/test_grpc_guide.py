"""The clients of docs/grpc.md, as they stand, charge a card."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deploy import contract
from deploy.local import overview
from deploy.local import stack as local

GUIDE = (Path(__file__).parents[2] / "docs" / "grpc.md").read_text()
MODULES = "require.resolve('@grpc/grpc-js'); require.resolve('@grpc/proto-loader')"


def environment(stack: local.Stack, checkout: Path) -> dict[str, str]:
    """Return the exports of `.data/tokens.env` and the shell's own environment."""
    exports = dict(re.findall(r"^export (\w+)='?([^'\n]+)'?$", overview.exports(stack), re.MULTILINE))
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return clean | exports | {"CHECKOUT": str(checkout)}


def node_has_grpc() -> bool:
    node = shutil.which("node")
    return node is not None and subprocess.run([node, "-e", MODULES], capture_output=True, check=False).returncode == 0


def example(language: str) -> str:
    return GUIDE.partition(f"```{language}\n")[2].partition("```")[0]


def paid(command: list[str], folder: Path, stack: local.Stack) -> None:
    contract.write(folder / "build" / "contract")
    ran = subprocess.run(
        ["bash", "-e", "-c", " ".join(command)],
        cwd=folder,
        env=environment(stack, folder),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert re.fullmatch(r"[0-9a-f-]{36} PAYMENT_STATUS_(COMPLETED|PROCESSING)\n", ran.stdout), ran.stdout + ran.stderr


def test_the_python_client_pays(stack: local.Stack, tmp_path: Path) -> None:
    (tmp_path / "pay.py").write_text(example("python"))
    generate = re.search(r"^python (-m grpc_tools.protoc (?:.+\\\n)*.+)$", GUIDE, re.MULTILINE)
    assert generate is not None
    paid([sys.executable, generate[1].replace("\\\n", " "), "&&", sys.executable, "pay.py"], tmp_path, stack)


@pytest.mark.skipif(not node_has_grpc(), reason="needs Node and its gRPC packages")
def test_the_node_client_pays(stack: local.Stack, tmp_path: Path) -> None:
    (tmp_path / "pay.cjs").write_text(example("js"))
    paid(["node", "pay.cjs"], tmp_path, stack)
