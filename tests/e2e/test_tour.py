"""What the README's tour of the ledger shows can be copied and pasted, and answers as it says."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from deploy.local import overview
from deploy.local import stack as local
from tests.e2e import system

CHECKOUT = Path(__file__).parents[2]
ASIDE = "No public key was given: each signature was only checked against the key that stands beside it."


def commands() -> str:
    section = (CHECKOUT / "README.md").read_text().partition("\n### The ledger\n")[2]
    return section.partition("```bash\n")[2].partition("\n```\n")[0]


def fitted(script: str, stack: local.Stack, folder: Path) -> str:
    """Return the commands with the addresses of this stack instead of those of `make run`."""
    for there, here in {
        "http://127.0.0.1:8080": stack.gateway_url,
        ".data/": f"{folder}/",
    }.items():
        assert there in script
        script = script.replace(there, here)
    return script


@pytest.mark.skipif(shutil.which("curl") is None, reason="the tour needs curl")
def test_the_tour_of_the_ledger_works_as_it_stands(stack: local.Stack, client: system.Client, tmp_path: Path) -> None:
    user, admin = client.token("user-1", "user"), client.token("admin-1", "admin")
    client.settled(user, client.pay(user, amount="100.00").json()["id"])
    (tmp_path / "tokens.env").write_text(overview.exports(stack))
    script = commands()
    ran = subprocess.run(
        ["bash", "-u", "-c", fitted(script, stack, tmp_path)],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    for path in ("/fees/USD/TRANSFER", "/rates/USD/HTG"):  # Other tests of this stack know neither.
        assert client.call("DELETE", f"{path}?reason=over", token=admin).is_success
    assert (ran.returncode, ran.stderr.strip()) == (0, ASIDE), ran.stdout
    assert "urn:kobklein:problem" not in ran.stdout
    promised = re.findall(r"# → (.+)$", script, re.MULTILINE)
    assert len(promised) == script.count("→") >= 9
    assert [each for each in promised if each not in ran.stdout] == []
    assert "<!DOCTYPE html>" in (tmp_path / "statement.html").read_text()
