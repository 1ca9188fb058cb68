"""Where a checkout keeps what it makes. Uses the standard library alone, as do all commands that tidy up."""

import hashlib
import os
from pathlib import Path
from typing import Final

CHECKOUT: Final = Path(__file__).parents[2]
ROOT_FOLDER: Final = Path("/var/lib/kobklein")
"""Where root keeps what `nobody` must reach: PostgreSQL refuses to run as root."""
_OWNER_FILE: Final = "checkout"


def data(checkout: Path) -> Path:
    """Return the folder of a checkout's keys, logs and, unless root runs it, databases."""
    return checkout / ".data"


def runs(checkout: Path) -> Path:
    """Return the folder of the records of a checkout's runs."""
    return data(checkout) / "runs"


def roots(checkout: Path) -> Path:
    """Return where root keeps the database of a checkout."""
    return ROOT_FOLDER / hashlib.sha256(str(checkout).encode()).hexdigest()[:12]


def database(checkout: Path) -> Path:
    """Return the folder of a checkout's lasting database for the user who asks."""
    return (roots(checkout) if os.getuid() == 0 else data(checkout)) / "postgres"


def sign(checkout: Path) -> None:
    """Write down beside a database that root keeps which checkout it belongs to."""
    if os.getuid() == 0:
        roots(checkout).mkdir(mode=0o755, parents=True, exist_ok=True)
        (roots(checkout) / _OWNER_FILE).write_text(f"{checkout}\n")
