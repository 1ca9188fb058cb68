"""The proof of the whole ledger in one snapshot: what it adds up to, and that nothing in it was changed."""

import itertools
from collections.abc import Collection, Iterator
from typing import Final

from wallets_service.proof import chain, snapshots
from wallets_service.proof.verification import chains, groups, statements, sums
from wallets_service.proof.verification.values import MAX_BREAKS, Break, Progress, Report, Total

__all__ = ["MAX_BREAKS", "Break", "Progress", "Report", "Total", "examine", "verify"]

_COUNTS: Final = """
    SELECT (SELECT count(*) FROM accounts) AS account_count,
           (SELECT count(*) FROM transfers) AS transfer_count,
           (SELECT count(*) FROM holds) AS hold_count,
           (SELECT coalesce(max(sequence), 0) FROM seals) AS sealed_count,
           now() AS verified_time
"""
_CHECKS: Final = (*sums.CHECKS, *groups.CHECKS)


def verify(
    url: str,
    clock: snapshots.Clock,
    *,
    head: chain.Head | None = None,
    trusted: Collection[bytes] = (),
    progress: Progress = lambda _step, _done, _of: None,
) -> Report:
    """Check a whole ledger; writers never wait for it.

    Raises LedgerTooLarge when the clock runs out, Unavailable when the database is out of reach.
    """
    with snapshots.taken(url, clock) as snapshot:
        return examine(snapshot, head=head, trusted=trusted, progress=progress)


def examine(
    snapshot: snapshots.Snapshot, *, head: chain.Head | None, trusted: Collection[bytes], progress: Progress
) -> Report:
    """Check a whole ledger in a snapshot.

    `head` was kept elsewhere and must be found again; `trusted` are the public keys that may sign, any when empty.
    """
    progress("counts", 0, 0)
    counts = snapshot.row(_COUNTS)
    totals = sums.totals(snapshot)
    found = itertools.chain(
        sums.breaks(totals),
        statements.breaks(snapshot, _CHECKS, progress),
        chains.breaks(snapshot, trusted, progress),
        () if head is None else chains.head_breaks(snapshot, head, trusted),
    )
    return Report(**counts, totals=totals, breaks=_first(found))


def _first(breaks: Iterator[Break]) -> list[Break]:
    """Keep the first breaks of every check, so that no kind of break hides another."""
    kept: dict[str, list[Break]] = {}
    for each in breaks:
        of_check = kept.setdefault(each.check, [])
        if len(of_check) < MAX_BREAKS:
            of_check.append(each)
    shares = itertools.zip_longest(*kept.values())
    first = itertools.islice((each for share in shares for each in share if each is not None), MAX_BREAKS)
    chosen = {id(each) for each in first}
    return [each for of_check in kept.values() for each in of_check if id(each) in chosen]
