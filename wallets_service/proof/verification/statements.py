"""The checks that are one SQL statement each: every row of it is something that does not hold."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from wallets_service.proof.snapshots import Snapshot
from wallets_service.proof.verification.values import MAX_BREAKS, Break, Progress


class Check(NamedTuple):
    """One statement; its columns are fields of a Break, the amounts in minor units, and it takes a `limit`."""

    step: str
    """What is looked at, for whoever waits for it."""
    check: str
    """What its breaks are called."""
    statement: str


def breaks(snapshot: Snapshot, checks: Sequence[Check], progress: Progress) -> Iterator[Break]:
    """Yield what does not hold, the first MAX_BREAKS of each statement."""
    for done, each in enumerate(checks):
        progress(each.step, done, len(checks))
        for row in snapshot.rows(each.statement, {"limit": MAX_BREAKS}):
            row.update({name: int(row[name]) for name in ("expected_amount", "actual_amount")})
            yield Break(check=each.check, **row)
