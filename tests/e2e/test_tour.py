"""The README's tour can be pasted into bash and zsh, and answers as it says."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.local import overview
from deploy.local import stack as local
from tests.e2e import system

CHECKOUT = Path(__file__).parents[2]
ASIDE = "No public key was given: each signature was only checked against the key that stands beside it."


README = (CHECKOUT / "README.md").read_text()
# Pasted into a terminal, a comment is a command to zsh. So the shells are interactive, and read from their input.
SHELLS = {"bash": ["bash", "--norc", "--noprofile", "-u"], "zsh": ["zsh", "-f", "-i", "-u", "+o", "promptsp", "-s"]}


def section() -> str:
    """Return the tour, behind `make run` itself."""
    return README.partition("\n## The tour\n")[2].partition("\n**Data.** ")[0].partition("```bash\nmake run\n```\n")[2]


def commands() -> str:
    """Return the commands to paste, without those that need a tool that is not here."""
    blocks = re.findall(r"^```bash\n(.+?)^```$", section(), re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 10
    return "".join(block for block in blocks if "grpcurl" not in block or shutil.which("grpcurl"))


@pytest.mark.parametrize("page", ["README.md", *(f"docs/{each.name}" for each in (CHECKOUT / "docs").glob("*.md"))])
def test_nothing_to_be_pasted_has_a_comment(page: str) -> None:
    blocks = re.findall(r"^```(\w*)\n(.+?)^```$", (CHECKOUT / page).read_text(), re.MULTILINE | re.DOTALL)
    pasted = [text for language, text in blocks if language in ("bash", "sh")]
    assert [text for text in pasted if re.search(r"(^|\s)#", text, re.MULTILINE)] == []


@pytest.mark.skipif(shutil.which("curl") is None, reason="the tour needs curl")
@pytest.mark.parametrize("shell", [shell for shell in SHELLS if shell == "bash" or shutil.which(shell)])
def test_the_tour_works_as_it_stands(stack: local.Stack, client: system.Client, tmp_path: Path, shell: str) -> None:
    admin = client.token("admin-1", "admin")
    before = client.balances(admin, "user-1")
    (tmp_path / "tokens.env").write_text(overview.exports(stack))
    script = commands().replace(".data/", f"{tmp_path}/")
    ran = subprocess.run(
        SHELLS[shell],
        input=script + "exit 0\n",
        cwd=CHECKOUT,
        env={**os.environ, "PS1": "", "PS2": "", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    for path in ("/fees/USD/TRANSFER", "/rates/USD/HTG"):  # Other tests of this stack know neither.
        assert client.call("DELETE", f"{path}?reason=over", token=admin).is_success
    assert (ran.returncode, ran.stderr.strip()) == (0, ASIDE), ran.stdout
    assert "urn:kobklein:problem" not in ran.stdout
    promised = re.findall(r"→ `([^`]+)`", section())
    assert len(promised) == section().count("→ `") >= 11
    assert [each for each in promised if each not in ran.stdout] == []
    assert "<!DOCTYPE html>" in (tmp_path / "statement.html").read_text()
    assert before != client.balances(admin, "user-1")
