"""What a transfer costs: pure arithmetic, in whole minor units.

The fee is clamp(fixed + floor(amount x parts / 1,000,000), floor, cap). It is rounded once, and towards the payer: a
fraction of a minor unit is not charged. The payer pays amount and fee, the payee gets the amount, and the platform the
fee, so that nothing is left over to be rounded, and no minor unit is made or lost.
"""

import dataclasses
from typing import Final

_MILLION: Final = 1_000_000


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a kind of transfer costs in a currency; amounts are minor units.

    Anything negative, more parts than there are, and a cap below the floor are a ValueError.
    """

    fixed_amount: int = 0
    parts_per_million: int = 0
    floor_amount: int = 0
    cap_amount: int | None = None
    """None is without bound."""

    def __post_init__(self) -> None:
        if min(self.fixed_amount, self.floor_amount) < 0 or not 0 <= self.parts_per_million <= _MILLION:
            raise ValueError("a fee is neither negative nor more than all of the amount")
        if self.cap_amount is not None and self.cap_amount < self.floor_amount:
            raise ValueError("the cap is below the floor")


FREE: Final = Terms()


def due(terms: Terms, posted: int) -> int:
    """Return what is due of the fee of a hold once so much of it is posted: what one transfer of that would cost.

    More never costs less. So what a part is charged is the difference between one due and the next, together the parts
    are charged to the minor unit what one transfer of their sum costs, and the whole of the hold is the most there is.
    """
    return charged(posted, terms) if posted else 0


def charged(amount: int, terms: Terms) -> int:
    """Return the fee for an amount; both are minor units."""
    fee = max(terms.fixed_amount + amount * terms.parts_per_million // _MILLION, terms.floor_amount)
    return fee if terms.cap_amount is None else min(fee, terms.cap_amount)
