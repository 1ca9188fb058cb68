"""Accounts that are left alone while somebody keeps them locked."""

from wallets_service.ledger import kept
from wallets_service.ledger.kept import Kept

ANA, BEN = ("user/ana", "HTG"), ("user/ben", "HTG")


def test_an_account_is_left_alone_for_so_long_and_no_longer() -> None:
    time = 100.0
    accounts = Kept(lambda: time)
    assert not accounts.keys
    accounts.add([ANA])
    time += 1
    accounts.add([BEN])
    assert set(accounts.keys) == {ANA, BEN}
    time = 100.0 + kept.SECONDS
    assert set(accounts.keys) == {BEN}
    time += 1
    assert not accounts.keys


def test_an_account_that_is_found_kept_again_is_left_alone_anew() -> None:
    time = 100.0
    accounts = Kept(lambda: time)
    accounts.add([ANA])
    time += kept.SECONDS - 1
    accounts.add([ANA])
    time += kept.SECONDS - 1
    assert set(accounts.keys) == {ANA}
