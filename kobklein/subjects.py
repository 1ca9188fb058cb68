"""Subjects: whom tokens are about, and so the users that fields, paths and account addresses name."""

import re
from typing import Final

MAX_LENGTH: Final = 255
PATTERN: Final = "[!-.0-~]+"
"""As the contract has it, for fields that name users; addresses have such texts between slashes."""
RULE: Final = "is not 1 to 255 visible ASCII characters other than /"
_SUBJECT: Final = re.compile(PATTERN)


def valid(text: str) -> bool:
    """Return whether `text` can be a subject: 1 to 255 visible ASCII characters except `/`, which parts addresses.

    Identity providers write `auth0|5f7c8ec7c33c6c004bbafe82`, `jean@example.ht` or a UUID; RFC 7519 has any text.
    """
    return len(text) <= MAX_LENGTH and _SUBJECT.fullmatch(text) is not None
