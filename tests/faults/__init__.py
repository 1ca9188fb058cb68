"""Faults that are planted in a copy of the code; each is one that hurt somebody's ledger, or would.

A test that stays green with the fault in place proves nothing. `python -m tests.faults` plants them.
"""

from pathlib import Path
from typing import Final

from tests.faults import boundaries, posting, proof, services
from tests.faults.fault import Fault

ROOT: Final = Path(__file__).parent.parent.parent
FAULTS: Final[tuple[Fault, ...]] = (*posting.FAULTS, *boundaries.FAULTS, *proof.FAULTS, *services.FAULTS)
