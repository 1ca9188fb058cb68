"""The rates that admins set; they go before those of every source."""

from collections.abc import Iterable, Sequence, Set
from fractions import Fraction
from typing import Any, Final

from kobklein import errors, money
from kobklein.database import Session
from wallets_service import audit, models
from wallets_service import errors as wallets_errors
from wallets_service.rates import decimals
from wallets_service.rates.sources import Rate
from wallets_service.repository import rates as repository

NAME: Final = "table"


class Table:
    """Rates as they were set when they were read."""

    def __init__(self, rates: Iterable[Rate]) -> None:
        self._rates = {(rate.sell_currency, rate.buy_currency): rate for rate in rates}

    def rate(self, sell_currency: str, buy_currency: str) -> Rate | None:
        """Return the rate of a pair, if it is set."""
        return self._rates.get((sell_currency, buy_currency))

    def rates(self) -> Sequence[Rate]:
        """Return every rate."""
        return list(self._rates.values())

    def stations(self, _known: Set[str]) -> Set[str]:
        """Return every currency of the table."""
        return {currency for pair in self._rates for currency in pair}


async def read(session: Session) -> Table:
    """Return the rates that are set."""
    return Table(_rate(row) for row in await repository.list_rates(session))


async def set_(
    session: Session,
    *,
    sell_currency: str,
    buy_currency: str,
    value: Fraction,
    spread_parts_per_million: int,
    reason: str,
) -> Rate:
    """Set a rate from now on, and record who did so, unless it is that already.

    Quotes that were made before keep theirs. Changes of the table take turns, so that each is recorded with what it
    really replaced. Raises InvalidArgument.
    """
    _check(sell_currency, buy_currency, value)
    await repository.lock(session)
    earlier = await repository.get_rate(session, sell_currency, buy_currency)
    if earlier is not None and (earlier.rate, earlier.spread_parts_per_million) == (value, spread_parts_per_million):
        return _rate(earlier)
    before = None if earlier is None else _described(_rate(earlier))
    rate = _rate(
        await repository.put_rate(
            session,
            sell_currency=sell_currency,
            buy_currency=buy_currency,
            rate=value,
            spread_parts_per_million=spread_parts_per_million,
        )
    )
    await audit.record(
        session,
        subject=_subject(sell_currency, buy_currency),
        action="SET",
        before=before,
        after=_described(rate),
        reason=reason,
    )
    return rate


async def delete(session: Session, *, sell_currency: str, buy_currency: str, reason: str) -> None:
    """Leave a pair to the other sources from now on, and record who did so; raises RateNotFound if none is set."""
    await repository.lock(session)
    rate = await repository.get_rate(session, sell_currency, buy_currency)
    if rate is None:
        raise wallets_errors.RateNotFound(sell_currency=sell_currency, buy_currency=buy_currency)
    before = _described(_rate(rate))
    await repository.delete_rate(session, rate)
    await audit.record(
        session,
        subject=_subject(sell_currency, buy_currency),
        action="DELETE",
        before=before,
        after=None,
        reason=reason,
    )


def _subject(sell_currency: str, buy_currency: str) -> str:
    return f"rates/{sell_currency}/{buy_currency}"


def _check(sell_currency: str, buy_currency: str, value: Fraction) -> None:
    """Check what the rules of single fields cannot; raises InvalidArgument."""
    violations = [
        errors.Violation(field, "is not a currency of ISO 4217")
        for field, code in (("rate.sell_currency", sell_currency), ("rate.buy_currency", buy_currency))
        if code not in money.currencies()
    ]
    if sell_currency == buy_currency:
        violations.append(errors.Violation("rate.buy_currency", "is the one that is sold"))
    if value == 0:
        violations.append(errors.Violation("rate.rate", "is zero"))
    if violations:
        raise errors.InvalidArgument(*violations)


def _rate(row: models.Rate) -> Rate:
    return Rate(row.sell_currency, row.buy_currency, row.rate, row.spread_parts_per_million, NAME, row.updated_time)


def _described(rate: Rate) -> dict[str, Any]:
    return {"rate": decimals.text(rate.value), "spread_parts_per_million": rate.spread_parts_per_million}
