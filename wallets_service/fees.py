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


def due(fee: int, *, posted: int, amount: int) -> int:
    """Return what of the fee for a whole amount is due once so much of that is posted; the last part brings the rest.

    It is rounded towards the payer, and what the parts are charged is the difference between one due and the next: in
    whatever parts the amount is posted, they are charged the fee together, to the minor unit.
    """
    return fee * posted // amount


def charged(amount: int, terms: Terms) -> int:
    """Return the fee for an amount; both are minor units."""
    fee = max(terms.fixed_amount + amount * terms.parts_per_million // _MILLION, terms.floor_amount)
    return fee if terms.cap_amount is None else min(fee, terms.cap_amount)
