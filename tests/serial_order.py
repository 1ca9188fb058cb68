"""Whether all that callers were told could have been told by one clerk, one call at a time, in the order of real time.

Every transfer carries the versions that it made, and every look the versions that it saw: so nothing has to be guessed
of what came before what, and strict serializability is that these facts and the clock on the callers' wall form no
circle. The order that is found is then gone through by a clerk who knows nothing but the rules, and who has to give
every answer that was given. For ledgers without holds, limits and overdrafts.
"""

import bisect
import collections
import dataclasses
import graphlib
import itertools
import time
from collections.abc import Hashable, Iterable, Iterator
from typing import Any, Final, NamedTuple

from kobklein.wallets.v1 import ledger_pb2
from tests import ledger_oracle, wallets

Key = tuple[str, str]
"""An account's address and currency."""
Node = Hashable
"""A transaction by its id, a look, or an instant."""
_FLOORLESS: Final = ("provider/", "fx/")


@dataclasses.dataclass(frozen=True, slots=True)
class Call:
    """One transfer that was asked for, and the answer, with the instants around them."""

    transfer: ledger_pb2.Transfer
    result: ledger_pb2.TransferResult
    asked: float
    answered: float

    @property
    def debit(self) -> Key:
        return self.transfer.debit_account, self.transfer.currency


@dataclasses.dataclass(frozen=True, eq=False)
class Look:
    """What all accounts were in one answer: balances and versions."""

    seen: dict[Key, tuple[int, int]]
    asked: float
    answered: float


class _Instant(NamedTuple):
    """When somebody got an answer; it stands between what was over by then and what began later."""

    time: float


@dataclasses.dataclass
class Record:
    """Everything that was asked and answered."""

    calls: list[Call] = dataclasses.field(default_factory=list)
    looks: list[Look] = dataclasses.field(default_factory=list)

    async def post(self, client: wallets.Client, *transfers: ledger_pb2.Transfer) -> list[ledger_pb2.TransferResult]:
        """Post transfers, and note when and how they were answered."""
        asked = time.monotonic()
        results = await client.post(*transfers)
        answered = time.monotonic()
        self.calls += [
            Call(transfer, result, asked, answered) for transfer, result in zip(transfers, results, strict=True)
        ]
        return results

    async def look(self, client: wallets.Client) -> list[ledger_pb2.Account]:
        """Read every account in one statement, and note what it was."""
        asked = time.monotonic()
        request = ledger_pb2.ListAccountsRequest(page_size=200)
        answer = await client.ledger.ListAccounts(request, metadata=wallets.AS_SERVICE)
        assert not answer.next_page_token, "more accounts than one statement shows"
        seen = {(each.address, each.currency): (each.balance, each.version) for each in answer.accounts}
        self.looks.append(Look(seen, asked, time.monotonic()))
        return list(answer.accounts)


def check(books: ledger_oracle.Books, record: Record) -> None:
    """Assert that every answer is that of one clerk who did everything in an order that real time allows."""
    replies = {call.result.transfer.id: call.result.transfer for call in record.calls if not _reason(call)}
    assert replies.keys() <= {str(id_) for id_ in books.transfers}, "somebody was told of what is not recorded"
    work = _Work(books, record)
    try:
        order = [*graphlib.TopologicalSorter(work.before()).static_order()]
    except graphlib.CycleError as error:
        circle = [node for node in error.args[1] if not isinstance(node, _Instant)]
        raise AssertionError(f"no order of these is possible: {circle}") from error
    clerk = _Clerk()
    for node in order:
        if isinstance(node, int):
            for row in work.batches[node]:
                clerk.post(books, row, replies.get(str(row["id"])))
        elif isinstance(node, Look):
            clerk.look(node)
    for call in record.calls:
        work.assert_answer(call)


def _reason(call: Call) -> str:
    return call.result.error.reason


class _Work:
    """What was done, transaction by transaction, and what must have come before what."""

    def __init__(self, books: ledger_oracle.Books, record: Record) -> None:
        self.record = record
        self.batches = collections.defaultdict[int, list[dict[str, Any]]](list)
        for row in sorted(books.transfers.values(), key=lambda row: row["place"]):
            self.batches[int(row["xid"])].append(row)
        self.by_id = {str(row["id"]): row for row in books.transfers.values()}
        self.histories = collections.defaultdict[Key, list[tuple[int, int]]](lambda: [(0, 0)])
        """The transaction and the balance of each version of an account; version 0 is of no transaction."""
        for _, key, xid, balance in sorted(_sides(books), key=lambda side: side[0]):
            self.histories[key].append((xid, balance))
        self.asked, self.answered = self._times()

    def _times(self) -> tuple[dict[int, float], dict[int, float]]:
        """Return the last instant by which each transaction was asked for, and the first at which it was told of.

        One that was repeated was asked for as soon as it was for the first time.
        """
        first = dict[str, float]()
        asked, answered = dict[int, float](), dict[int, float]()
        for call in self.record.calls:
            first[call.transfer.id] = min(call.asked, first.get(call.transfer.id, call.asked))
        for call in self.record.calls:
            if not _reason(call):
                xid = int(self.by_id[call.transfer.id]["xid"])
                asked[xid] = max(first[call.transfer.id], asked.get(xid, 0.0))
                answered[xid] = min(call.answered, answered.get(xid, call.answered))
        return asked, answered

    def before(self) -> dict[Node, set[Node]]:
        """Return what comes right before each transaction, look and instant."""
        graph = collections.defaultdict[Node, set[Node]](set, {xid: set() for xid in self.batches})
        for history in self.histories.values():
            for (xid, _), (following, _) in itertools.pairwise(history[1:]):
                if xid != following:
                    graph[following].add(xid)
        for look in self.record.looks:
            self._place(graph, look)
        self._keep_time(graph)
        return graph

    def _place(self, graph: dict[Node, set[Node]], look: Look) -> None:
        """A look comes after what it saw, and before what came next."""
        for key, history in self.histories.items():
            _, version = look.seen.get(key, (0, 0))
            if version:
                graph[look].add(history[version][0])
            if version + 1 < len(history):
                graph[history[version + 1][0]].add(look)

    def _keep_time(self, graph: dict[Node, set[Node]]) -> None:
        """Whatever was asked for after something was answered comes after it; instants stand for all before them."""
        spans: list[tuple[Node, float, float]] = [(xid, asked, self.answered[xid]) for xid, asked in self.asked.items()]
        spans += [(look, look.asked, look.answered) for look in self.record.looks]
        instants = sorted({answered for _, _, answered in spans})
        for earlier, later in itertools.pairwise(instants):
            graph[_Instant(later)].add(_Instant(earlier))
        for node, asked, answered in spans:
            graph[_Instant(answered)].add(node)
            passed = bisect.bisect_left(instants, asked)
            if passed:
                graph[node].add(_Instant(instants[passed - 1]))

    def assert_answer(self, call: Call) -> None:
        """Assert that a call says what is recorded, or that it had to be refused at some instant while it ran."""
        row = self.by_id.get(call.transfer.id)
        if not _reason(call):
            assert row is not None
            assert call.result.transfer.amount == row["amount"] == call.transfer.amount, call
            return
        assert (_reason(call), row) == ("INSUFFICIENT_FUNDS", None), call
        history = self.histories[call.debit]
        assert any(
            balance < call.transfer.amount
            and self.asked.get(xid, 0.0) < call.answered
            and not (version + 1 < len(history) and self._over(history[version + 1][0], call.asked))
            for version, (xid, balance) in enumerate(history)
        ), f"there was enough all the time: {call}"

    def _over(self, xid: int, instant: float) -> bool:
        return xid in self.answered and self.answered[xid] < instant


def _sides(books: ledger_oracle.Books) -> Iterator[tuple[int, Key, int, int]]:
    """Yield the version, the account, the transaction and the balance of both sides of every transfer."""
    for row in books.transfers.values():
        for side, address in zip(("debit", "credit"), books.addresses(row), strict=True):
            yield row[f"{side}_version"], (address, row["currency"]), int(row["xid"]), row[f"{side}_balance_after"]


class _Clerk:
    """Does one thing after the other by the rules, and compares what comes out with what callers were told."""

    def __init__(self) -> None:
        self._accounts = collections.defaultdict[Key, tuple[int, int]](lambda: (0, 0))

    def post(self, books: ledger_oracle.Books, row: dict[str, Any], reply: ledger_pb2.Transfer | None) -> None:
        """Move the money of a transfer, and assert that row and reply say what is there afterwards."""
        for side, sign, address in zip(("debit", "credit"), (-1, 1), books.addresses(row), strict=True):
            key = (address, row["currency"])
            balance, version = self._accounts[key]
            after = self._accounts[key] = balance + sign * row["amount"], version + 1
            assert after[0] >= 0 or address.startswith(_FLOORLESS), row
            assert after == (row[f"{side}_balance_after"], row[f"{side}_version"]), row
            assert reply is None or getattr(reply, f"{side}_balance_after") == after[0], reply

    def look(self, look: Look) -> None:
        """Assert that a look saw every account as it is now."""
        assert {key: each for key, each in self._accounts.items() if each[1]} == {
            key: each for key, each in look.seen.items() if each[1]
        }, look


def told(calls: Iterable[Call]) -> dict[str, str]:
    """Return what became of calls, by the ids of their transfers."""
    return {call.transfer.id: ledger_oracle.REFUSED if _reason(call) else ledger_oracle.POSTED for call in calls}
