"""What must hold of a ledger at rest, computed from its rows here and not by the service."""

import collections
import dataclasses
import datetime
import hashlib
import math
import uuid
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from typing import Any, Final

import psycopg
from psycopg import rows

from tests import seal_oracle, wallets

POSTED: Final = "posted"
REFUSED: Final = "refused"
_CLEARING: Final = ("provider/", "fx/")
_LIQUIDITY: Final = "fx/liquidity"
_SPREAD: Final = "fx/spread"
_CONVERSION: Final = "CONVERSION"
_BY_HAND: Final = ("ADJUSTMENT", "DEPOSIT")


@dataclasses.dataclass(frozen=True, slots=True)
class Leg:
    """One side of a transfer."""

    account: Any
    version: int
    change: int
    balance_after: int
    time: datetime.datetime
    transfer: Any


@dataclasses.dataclass(frozen=True)
class Books:
    """Every row of a ledger."""

    accounts: dict[Any, dict[str, Any]]
    transfers: dict[Any, dict[str, Any]]
    holds: dict[Any, dict[str, Any]]
    quotes: dict[Any, dict[str, Any]] = dataclasses.field(default_factory=dict)

    def addresses(self, transfer: dict[str, Any]) -> tuple[str, str]:
        """Return who pays and who receives."""
        debit, credit = (self.accounts[transfer[f"{side}_account_id"]]["address"] for side in ("debit", "credit"))
        return debit, credit

    def legs(self) -> Iterator[Leg]:
        for each in self.transfers.values():
            for side, sign in (("debit", -1), ("credit", 1)):
                yield Leg(
                    each[f"{side}_account_id"],
                    each[f"{side}_version"],
                    sign * each["amount"],
                    each[f"{side}_balance_after"],
                    each["created_time"],
                    each["id"],
                )


def read(connection: psycopg.Connection[Any]) -> Books:
    """Return every row."""
    with connection.cursor(row_factory=rows.dict_row) as cursor:
        return Books(
            *(
                {row["id"]: row for row in cursor.execute(f"SELECT * FROM {table}".encode())}
                for table in ("accounts", "transfers", "holds", "fx_quotes")
            )
        )


def check(url: str, outcomes: Mapping[str, str] | None = None, *, heads: Iterable[seal_oracle.Head] = ()) -> Books:
    """Assert everything that must hold, in one snapshot.

    `outcomes` tells what became of calls, by the ids of their transfers; `heads` are ends of the chain of seals that
    were kept outside while it grew.
    """
    with psycopg.connect(url, client_encoding="utf8") as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        return examine(connection, outcomes, heads=heads)


def examine(
    connection: psycopg.Connection[Any],
    outcomes: Mapping[str, str] | None = None,
    *,
    heads: Iterable[seal_oracle.Head] = (),
) -> Books:
    """Assert everything that must hold of what this transaction sees."""
    books = read(connection)
    _ids_are_those_of_names(books)
    _currencies_sum_to_zero(books)
    _floors_hold(books)
    _balances_follow_from_history(books)
    _histories_replay(books)
    _holds_add_up(books)
    _fees_follow_their_holds(books)
    _reversals_stay_below_their_originals(books)
    _groups_are_whole(books)
    _clearing_is_explained(books)
    seal_oracle.examine(connection, key=wallets.SEAL_PUBLIC_KEY, heads=heads)
    if outcomes is not None:
        _each_call_has_its_one_effect(books, outcomes)
    return books


def _ids_are_those_of_names(books: Books) -> None:
    for id_, account in books.accounts.items():
        digest = hashlib.sha256(f"{account['address']}/{account['currency']}".encode()).hexdigest()
        text = f"{digest[:12]}8{digest[13:16]}{int(digest[16], 16) % 4 + 8:x}{digest[17:32]}"
        assert id_ == uuid.UUID(text), account


def _currencies_sum_to_zero(books: Books) -> None:
    inside, clearing = collections.Counter[str](), collections.Counter[str]()
    for account in books.accounts.values():
        side = clearing if account["address"].startswith(_CLEARING) else inside
        side[account["currency"]] += account["balance"]
    assert {currency: -total for currency, total in clearing.items() if total} == {c: t for c, t in inside.items() if t}


def _floors_hold(books: Books) -> None:
    for account in books.accounts.values():
        assert account["held_amount"] >= 0, account
        limit = account["overdraft_limit"]
        assert limit is None or account["balance"] - account["held_amount"] >= -limit, account


def _balances_follow_from_history(books: Books) -> None:
    totals = collections.Counter[Any]()
    for leg in books.legs():
        totals[leg.account] += leg.change
    assert {id_: account["balance"] for id_, account in books.accounts.items() if account["balance"]} == {
        id_: total for id_, total in totals.items() if total
    }


def _histories_replay(books: Books) -> None:
    """Every account's history is one after the other: no gap, each balance from the one before, times in order."""
    histories = collections.defaultdict[Any, list[Leg]](list)
    for leg in books.legs():
        histories[leg.account].append(leg)
    for id_, legs in histories.items():
        balance, time = 0, datetime.datetime.min.replace(tzinfo=datetime.UTC)
        for place, leg in enumerate(sorted(legs, key=lambda each: each.version), 1):
            balance += leg.change
            assert (leg.version, leg.balance_after) == (place, balance), leg
            assert leg.time >= time, leg
            time = leg.time
        assert books.accounts[id_]["version"] == len(legs)
    _causes_come_before_effects(books)


def _causes_come_before_effects(books: Books) -> None:
    """There is one order in which a single clerk could have posted everything: no two histories disagree."""
    waiting = {
        id_: {
            ("debit", row["debit_account_id"], row["debit_version"]),
            ("credit", row["credit_account_id"], row["credit_version"]),
        }
        for id_, row in books.transfers.items()
    }
    by_place = {(account, version): id_ for id_, sides in waiting.items() for _, account, version in sides}
    done = collections.Counter[Any]()
    ready = [id_ for id_ in waiting if all(version == 1 for _, _, version in waiting[id_])]
    posted = 0
    while ready:
        posted += 1
        for _, account, version in waiting[ready.pop()]:
            done[account] = version
            following = by_place.get((account, version + 1))
            if following is not None and all(done[other] == place - 1 for _, other, place in waiting[following]):
                ready.append(following)
    assert posted == len(waiting)


def _holds_add_up(books: Books) -> None:
    taken, held = collections.Counter[Any](), collections.Counter[Any]()
    for transfer in books.transfers.values():
        if transfer["hold_id"] is not None:
            hold = books.holds[transfer["hold_id"]]
            assert (hold["debit_account_id"], hold["credit_account_id"]) == (
                transfer["debit_account_id"],
                transfer["credit_account_id"],
            )
            taken[hold["id"]] += transfer["amount"]
    for hold in books.holds.values():
        assert hold["posted_amount"] == taken[hold["id"]] <= hold["amount"], hold
        if hold["status"] == "PENDING":
            held[hold["debit_account_id"]] += hold["amount"] - hold["posted_amount"]
    for id_, account in books.accounts.items():
        assert account["held_amount"] == held[id_], account


def _fees_follow_their_holds(books: Books) -> None:
    """A hold with a fee has one hold of it, which took what so much costs in one piece, and ended with it."""
    fees = {hold["fee_of"]: hold for hold in books.holds.values() if hold["fee_of"] is not None}
    assert len(fees) == sum(hold["fee_of"] is not None for hold in books.holds.values())
    assert fees.keys() == {id_ for id_, hold in books.holds.items() if hold["fee_amount"]}
    for id_, fee in fees.items():
        hold = books.holds[id_]
        assert hold["amount"] > 0, hold
        assert (fee["debit_account_id"], fee["amount"]) == (hold["debit_account_id"], hold["fee_amount"]), fee
        assert fee["posted_amount"] == _price(hold, hold["posted_amount"]), fee
        assert fee["amount"] == _price(hold, hold["amount"]), fee
        if fee["posted_amount"] == fee["amount"]:  # Nothing is left of it that could end with the hold.
            assert fee["status"] == "POSTED", fee
        else:
            assert (fee["status"] == "PENDING") == (hold["status"] == "PENDING"), fee
            assert fee["status"] == "PENDING" or fee["updated_time"] == hold["updated_time"], fee


def _price(hold: dict[str, Any], amount: int) -> int:
    """Return what a transfer of an amount costs by the terms of a hold; nothing costs nothing."""
    share = math.floor(Fraction(amount * hold["fee_parts_per_million"], 1_000_000))
    price = max(hold["fee_fixed_amount"] + share, hold["fee_floor_amount"])
    cap = hold["fee_cap_amount"]
    return 0 if amount == 0 else price if cap is None else min(price, cap)


def _reversals_stay_below_their_originals(books: Books) -> None:
    back = collections.Counter[Any]()
    for transfer in books.transfers.values():
        if transfer["reverses_id"] is not None:
            original = books.transfers[transfer["reverses_id"]]
            assert original["debit_account_id"] == transfer["credit_account_id"]
            assert original["credit_account_id"] == transfer["debit_account_id"]
            back[original["id"]] += transfer["amount"]
    assert all(amount <= books.transfers[id_]["amount"] for id_, amount in back.items())


def _groups_are_whole(books: Books) -> None:
    """The transfers of a group were recorded by one transaction, side by side."""
    groups = collections.defaultdict[Any, list[dict[str, Any]]](list)
    for transfer in books.transfers.values():
        if transfer["group_id"] is not None:
            groups[transfer["group_id"]].append(transfer)
    for group_id, members in groups.items():
        assert group_id in {each["id"] for each in members}
        assert len({each["xid"] for each in members}) == 1
        places = sorted(each["place"] for each in members)
        assert places == list(range(places[0], places[0] + len(members)))


def _clearing_is_explained(books: Books) -> None:
    """What moves the exchange's own money is a leg of an accepted quote, takes something back, or was put in by hand.

    A quote is accepted whole or not at all, each leg as it was promised, and nothing else is called a conversion. What
    providers owe is not explained here: whoever made their payments knows.
    """
    accepted = [quote for quote in books.quotes.values() if quote["transfer_id"] in books.transfers]
    promised = [(quote["transfer_id"], leg) for quote in accepted for leg in _legs_of(quote)]
    moved = [
        (each["group_id"], (*books.addresses(each), each["amount"], each["currency"], each["type"]))
        for each in books.transfers.values()
    ]
    groups = {quote["transfer_id"] for quote in accepted}
    converted = [(group, leg) for group, leg in moved if group in groups or leg[-1] == _CONVERSION]
    assert collections.Counter(converted) == collections.Counter(promised)
    aside = [each for each in books.transfers.values() if each["group_id"] not in groups]
    by_hand = [each for each in aside if _LIQUIDITY in books.addresses(each)]
    assert all(each["type"] in _BY_HAND or each["reverses_id"] is not None for each in by_hand), by_hand


def _legs_of(quote: dict[str, Any]) -> Iterator[tuple[str, str, int, str, str]]:
    wallet = f"user/{quote['user_id']}"
    legs = (
        (wallet, _LIQUIDITY, quote["sell_amount"], quote["sell_currency"], _CONVERSION),
        (wallet, "fees", quote["fee_amount"], quote["sell_currency"], "FEE"),
        (_LIQUIDITY, wallet, quote["buy_amount"], quote["buy_currency"], _CONVERSION),
        (_LIQUIDITY, _SPREAD, quote["spread_amount"], quote["buy_currency"], _CONVERSION),
    )
    return (leg for leg in legs if leg[2])


def _each_call_has_its_one_effect(books: Books, outcomes: Mapping[str, str]) -> None:
    recorded = {str(id_) for id_ in books.transfers}
    for id_, outcome in outcomes.items():
        assert (id_ in recorded) == (outcome == POSTED), (id_, outcome)
