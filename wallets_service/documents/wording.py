"""What a line of a statement says to the customer: words, and no addresses of the system."""

from typing import Final

from kobklein import money
from wallets_service import addresses
from wallets_service.models import Transaction

_CARDS: Final = addresses.PROVIDERS + "stripe"
_PLAIN: Final = {"FEE": "Fee", "CONVERSION": "Currency conversion", "ADJUSTMENT": "Correction"}


def title(line: Transaction) -> str:
    """Return what a line is, such as `Card top-up` or `To user-2`, as its own wallet sees it."""
    comes_in = line.direction == "CREDIT"
    if line.reverses_id is not None:
        return f"{'Returned from' if comes_in else 'Returned to'} {party(line.counterparty)}"
    if line.type == "DEPOSIT" and comes_in:
        return "Card top-up" if line.counterparty == _CARDS else "Top-up"
    if line.type in _PLAIN:
        return _PLAIN[line.type]
    if line.type == "WITHDRAWAL":
        return f"Withdrawal, {party(line.counterparty)}"
    return f"{'From' if comes_in else 'To'} {party(line.counterparty)}"


def party(address: str) -> str:
    """Return who has an account: users by their ids, the card and the platform by name, others by their address."""
    if address == _CARDS:
        return "card"
    if addresses.of_platform(address):
        return "KobKlein"
    return address.removeprefix(addresses.USERS).removeprefix(addresses.PROVIDERS).replace("/", " ")


def notes(line: Transaction) -> list[str]:
    """Return the description and the reference of a line; one that the other contains is said once."""
    texts = [line.description, line.reference]
    return [text for text in texts if text and not any(text in other for other in texts if len(other) > len(text))]


def amount(minor_units: int, currency: str) -> str:
    """Return an amount with a comma between thousands, such as `12,500.00`."""
    whole, point, fraction = money.render(abs(minor_units), currency).partition(".")
    return f"{'-' if minor_units < 0 else ''}{int(whole):,}{point}{fraction}"
