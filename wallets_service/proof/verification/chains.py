"""The check of the chain of seals: every transfer is hashed again, and compared with what was sealed."""

import itertools
from collections.abc import Collection, Iterator
from typing import Final

from wallets_service.ledger import batches
from wallets_service.proof import chain
from wallets_service.proof.snapshots import Snapshot
from wallets_service.proof.verification.values import Break, Progress
from wallets_service.repository import seals as repository
from wallets_service.settings import MOST_SEAL_SECONDS

_PAGE_SEALS: Final = 100
_ROUND_SECONDS: Final = 20
"""More than a round of sealing takes."""
SEALED_SECONDS: Final = batches.LONGEST_SECONDS + MOST_SEAL_SECONDS + _ROUND_SECONDS
"""A transfer that is older must be sealed: its batch had that long to commit, its sealer may have just begun to pause,
and then needs a round to come to it."""


def breaks(snapshot: Snapshot, trusted: Collection[bytes], progress: Progress) -> Iterator[Break]:
    """Yield the first thing that is wrong with each seal, in the order of the chain, then what should be sealed too.

    Memory stays flat: some seals and their transfers at a time. `trusted` are the public keys that may sign; when it is
    empty, a signature only has to fit the key beside it.
    """
    last = repository.latest(snapshot.connection)
    whole = last.head.sequence if last else 0
    previous: chain.Seal | None = None
    while seals := _page(snapshot, previous):
        after = previous.last if previous else None
        rows = _Rows(repository.sealed_rows(snapshot.connection, after=after, until=seals[-1].last))
        for seal in seals:
            progress("chain of seals", seal.head.sequence, whole)
            run = rows.until(seal.last, at_most=len(seal.digests) // chain.DIGEST_BYTES + 1)
            fault = _fault(seal, previous, run, trusted)
            if fault is not None:
                yield fault
            previous = seal
        rows.drain()
    yield from _unsealed(snapshot, previous)


def head_breaks(snapshot: Snapshot, head: chain.Head, trusted: Collection[bytes]) -> Iterator[Break]:
    """Yield why a head that was kept elsewhere is not in the chain."""
    seal = repository.found(snapshot.connection, head.sequence)
    detail = None
    if not chain.proved(head):
        detail = "the head's signature is not that of its public key"
    elif trusted and head.public_key not in trusted:
        detail = "the head is signed by a key that is not trusted"
    elif seal is None:
        detail = "no seal ends there: the chain was cut off or written anew"
    elif seal.head.hash != head.hash:
        detail = "the chain has another hash there: it was written anew"
    if detail is not None:
        yield Break(check="HEAD_NOT_FOUND", detail=detail, sequence=head.sequence)


class _Rows:
    """Transfers in ledger order, dealt out to the seals."""

    def __init__(self, rows: Iterator[chain.Row]) -> None:
        self._rows = rows
        self._next = next(rows, None)

    def until(self, last: chain.Place, *, at_most: int) -> list[chain.Row]:
        """Return the transfers up to this place; of more than `at_most`, only so many are kept."""
        found: list[chain.Row] = []
        while self._next is not None and self._next.at <= last:
            if len(found) < at_most:
                found.append(self._next)
            self._next = next(self._rows, None)
        return found

    def drain(self) -> None:
        """Read what nobody asked for, so that the connection is free again."""
        for _ in self._rows:
            pass


def _page(snapshot: Snapshot, previous: chain.Seal | None) -> list[chain.Seal]:
    snapshot.step()
    return list(repository.page(snapshot.connection, after=previous.number if previous else 0, limit=_PAGE_SEALS))


def _fault(
    seal: chain.Seal, previous: chain.Seal | None, rows: list[chain.Row], trusted: Collection[bytes]
) -> Break | None:
    """Return the first thing that is wrong with a seal and its transfers."""
    next_number, next_sequence = (previous.number + 1, previous.head.sequence + 1) if previous else (1, 1)
    if seal.number != next_number:
        return _broken(next_sequence, f"seal {next_number} is missing")
    follows = chain.follows(seal, previous)
    changed = _changed(seal, rows, next_sequence)
    if changed is not None and (follows or changed.sequence <= seal.head.sequence):
        return changed
    if not follows:
        return _broken(next_sequence, f"seal {seal.number} was altered: it does not have its hash")
    if not chain.proved(seal.head):
        return _broken(next_sequence, f"seal {seal.number} is not signed by its key")
    if trusted and seal.head.public_key not in trusted:
        return _broken(next_sequence, f"seal {seal.number} is signed by a key that is not trusted")
    return None


def _changed(seal: chain.Seal, rows: list[chain.Row], first_sequence: int) -> Break | None:
    """Return the first transfer that is not as it was sealed; None when all are."""
    if chain.joined(rows) == seal.digests:
        return None
    sealed = chain.split(seal.digests)
    found = [row.digest for row in rows]
    pairs = itertools.zip_longest(found, sealed)
    index = next(index for index, (one, other) in enumerate(pairs) if one != other)
    sequence = first_sequence + index
    gone = index == len(found) or (index + 1 < len(sealed) and found[index] == sealed[index + 1])
    if gone:
        return _broken(sequence, f"the transfer that seal {seal.number} has there is missing")
    added = index == len(sealed) or (index + 1 < len(found) and found[index + 1] == sealed[index])
    what = "was added after it was made" if added else "is not as it was sealed"
    return Break(
        check="CHAIN_BROKEN",
        detail=f"the transfer {what}; its place is in seal {seal.number}",
        transfer_id=rows[index].id,
        sequence=sequence,
    )


def _unsealed(snapshot: Snapshot, last: chain.Seal | None) -> Iterator[Break]:
    snapshot.step()
    found = repository.first_unsealed(
        snapshot.connection, after=last.last if last else None, older_than_seconds=SEALED_SECONDS
    )
    if found is not None:
        transfer_id, not_begun = found
        yield Break(
            check="CHAIN_BROKEN",
            detail="the transfer's transaction has not begun yet: it was given another, or the database lost its count"
            if not_begun
            else "the transfer is not sealed, and should be: the sealer does not run, or the end of the chain was cut",
            transfer_id=transfer_id,
            sequence=last.head.sequence + 1 if last else 1,
        )


def _broken(sequence: int, detail: str) -> Break:
    return Break(check="CHAIN_BROKEN", detail=detail, sequence=sequence)
