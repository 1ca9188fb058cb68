"""`make token` prints tokens that calls take, and says which of its arguments cannot be used."""

import pytest
import typer.testing

from deploy.local import __main__
from kobklein import subjects


@pytest.mark.parametrize(
    ("role", "subject", "said"),
    [
        ("user", "a/b", f"SUBJECT {subjects.RULE}"),
        ("user", "a b", f"SUBJECT {subjects.RULE}"),
        ("user", "u" * 256, f"SUBJECT {subjects.RULE}"),
        ("user", " ", "SUBJECT is needed"),
        ("boss", "user-3", "ROLE: boss is none of admin, distributor"),
        (",", "user-3", "ROLE is needed"),
    ],
)
def test_an_argument_that_cannot_be_used_is_refused(role: str, subject: str, said: str) -> None:
    answer = typer.testing.CliRunner().invoke(__main__.app, ["token", "--role", role, "--subject", subject])
    assert answer.exit_code == 2
    assert said in answer.stderr
