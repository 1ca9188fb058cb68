"""The addresses of accounts: whose money lies where, and how far below zero it may go."""

from typing import Final

USERS: Final = "user/"
"""What the address of a user's account begins with; their wallet's goes on with their id."""
PROVIDERS: Final = "provider/"
FEES: Final = "fees"
"""Earns the fees."""
LIQUIDITY: Final = "fx/liquidity"
SPREAD: Final = "fx/spread"


def of_user(address: str) -> bool:
    """Return whether the money of an address is a user's."""
    return address.startswith(USERS)


def wallet(address: str) -> bool:
    """Return whether an address is a user's wallet, for which the limits of currencies hold; `user/a/b` is none."""
    return of_user(address) and "/" not in address[len(USERS) :]


def user_id(address: str) -> str | None:
    """Return whose wallet lies at an address; None if it is no wallet."""
    return address.removeprefix(USERS) if wallet(address) else None


def of_platform(address: str) -> bool:
    """Return whether an address earns the platform's fees, or exchanges currencies for it."""
    return address in (FEES, LIQUIDITY, SPREAD)


def default_overdraft_limit(address: str) -> int | None:
    """Return how far below zero an account may go unless it says otherwise; None is without limit.

    Only the balances that mirror money outside of the ledger have none: those of providers, and what the exchange of
    currencies has or owes. `fx/spread` is earned, like `fees`: neither can spend what is not there.
    """
    return None if address == LIQUIDITY or address.startswith(PROVIDERS) else 0
