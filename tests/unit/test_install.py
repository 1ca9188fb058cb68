"""Packages for running and for developing are pinned, and an environment of another Python is noticed."""

import re
import sys
import venv
from pathlib import Path

import pytest

from deploy import install

CHECKOUT = Path(__file__).parents[2]
TOOLS = {"buf-bin", "hypothesis", "mypy", "mypy-protobuf", "pytest", "ruff", "schemathesis", "uv"}


def pins(lock: str) -> dict[str, str]:
    """Return the hashes of each package and version of a lock."""
    text = (CHECKOUT / lock).read_text()
    return dict(re.findall(r"^([\w.-]+==\S+) .*\\\n((?:    --hash=.+\n?)+)", text, re.MULTILINE))


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
def test_a_lock_pins_every_package_by_hash_and_names_no_host(lock: str) -> None:
    text = (CHECKOUT / lock).read_text()
    assert len(pins(lock)) == len(re.findall(r"^[^\s#]", text, re.MULTILINE)) >= 70
    assert all("--hash=sha256:" in hashes for hashes in pins(lock).values())
    assert "://" not in text
    assert "--index" not in text


def test_running_installs_no_tool_of_developers_and_the_same_versions_as_they_have() -> None:
    running, developing = pins("requirements.lock"), pins("requirements-dev.lock")
    assert running.items() <= developing.items()
    names = {pin.partition("==")[0] for pin in running}
    assert names.isdisjoint(TOOLS | {"psycopg-pool"})
    assert {pin.partition("==")[0] for pin in developing} >= TOOLS


def test_an_environment_of_another_python_is_named(tmp_path: Path) -> None:
    assert install.check(tmp_path, (3, 13)) == 0
    venv.create(tmp_path / "made", symlinks=True)
    major, minor = sys.version_info[:2]
    assert install.check(tmp_path / "made", (major, minor)) == 0
    said = install.check(tmp_path / "made", (major, minor + 1))
    assert f"was made with Python {major}.{minor}, and PYTHON is {major}.{minor + 1}" in str(said)
