"""What a line of a statement says to the customer: words, and no addresses of the system."""

import datetime
from typing import Final

from kobklein import money
from wallets_service import addresses
from wallets_service.models import Transaction

_CARDS: Final = addresses.PROVIDERS + "stripe"
_PLAIN: Final = {"FEE": "Fee", "CONVERSION": "Currency conversion", "ADJUSTMENT": "Correction"}
_PUNCTUATION: Final = "()[]\"'.,;:!?#"
_DAY: Final = datetime.timedelta(days=1)


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
    """Return the description and the reference of a line, without a reference whose words the description has."""
    description, reference = line.description, line.reference
    said = reference in description and _words(reference) in _words(description)
    return [text for text in (description, "" if said else reference) if text]


def _words(text: str) -> str:
    """Return the words of a text without punctuation around them, with a blank on both sides of each."""
    return f" {' '.join(word.strip(_PUNCTUATION) for word in text.split())} "


def ends(start: datetime.datetime, before: datetime.datetime) -> tuple[datetime.date, datetime.date]:
    """Return how a range is told, by its local times: as its first and its last day if it is made of whole days."""
    midnights = start.time() == before.time() == datetime.time()
    return (start.date(), before.date() - _DAY) if midnights and start.date() < before.date() else (start, before)


def date(when: datetime.date, month: str = "%b") -> str:
    """Return a day, such as `27 Nov 2026`, or a time, such as `27 Nov 2026, 19:00`."""
    clock = f", {when:%H:%M}" if isinstance(when, datetime.datetime) else ""
    return f"{when.day} {when:{month}} {when.year}{clock}"


def amount(minor_units: int, currency: str) -> str:
    """Return an amount with a comma between thousands, such as `12,500.00`."""
    whole, point, fraction = money.render(abs(minor_units), currency).partition(".")
    return f"{'-' if minor_units < 0 else ''}{int(whole):,}{point}{fraction}"
