"""Fields that count minor units, shown as decimals of the currency that stands beside them."""

from collections.abc import Callable
from typing import Any, Final

from google.protobuf import descriptor, message

from gateway import scalars
from gateway.violations import Violations
from kobklein import formats, money, validation, value_checks
from kobklein.options.v1 import options_pb2

CURRENCY: Final = "currency"
"""Name of the field that says in which currency the amounts beside it are."""

Fill = Callable[[message.Message, Any, str, Violations], None]


def fill(field: descriptor.FieldDescriptor) -> Fill:
    """Return how a field of money is read; raises TypeError when its message names no currency."""
    name, default = field.name, validation.rules_of(_currency_of(field)).default_value
    out_of_range = _range_of(field)

    def amount_of(target: message.Message, value: Any, path: str, violations: Violations) -> int | None:
        currency = _currency(target, path, violations, default)
        amount = _parse(value, currency, path, violations)
        if amount is not None and (description := out_of_range(amount, currency)):
            violations.add(path, description)
            return None
        return amount

    def one(target: message.Message, value: Any, path: str, violations: Violations) -> None:
        amount = amount_of(target, value, path, violations)
        if amount is not None:
            setattr(target, name, amount)

    def many(target: message.Message, value: Any, path: str, violations: Violations) -> None:
        for index, item in enumerate(violations.list(value, path)):
            amount = amount_of(target, item, f"{path}[{index}]", violations)
            if amount is not None:
                getattr(target, name).append(amount)

    return many if field.is_repeated else one


def render(field: descriptor.FieldDescriptor) -> Callable[[message.Message], Any]:
    """Return how a field of money is shown; None while its message names no currency."""
    _currency_of(field)
    name = field.name

    def one(source: message.Message) -> str | None:
        currency: str = source.currency  # type: ignore[attr-defined]  # checked above
        return money.render(getattr(source, name), currency) if currency else None

    def many(source: message.Message) -> list[str] | None:
        currency: str = source.currency  # type: ignore[attr-defined]  # checked above
        return [money.render(amount, currency) for amount in getattr(source, name)] if currency else None

    return many if field.is_repeated else one


def _currency_of(field: descriptor.FieldDescriptor) -> descriptor.FieldDescriptor:
    siblings = field.containing_type.fields_by_name if field.containing_type else {}
    currency = siblings.get(CURRENCY)
    if currency is None or currency.type != descriptor.FieldDescriptor.TYPE_STRING:
        raise TypeError(f"{field.full_name} counts minor units, but its message has no currency")
    if field.cpp_type not in value_checks.INTEGERS:
        raise TypeError(f"{field.full_name} counts minor units, but holds no whole numbers")
    return currency


def _range_of(field: descriptor.FieldDescriptor) -> Callable[[int, str], str]:
    """Return the check of an amount against its bounds, which speaks of decimals, as the client does."""
    rules = validation.rules_of(field)
    least = rules.min if rules.HasField("min") else None
    most = rules.max if rules.HasField("max") else None
    never_zero = (least or 0) > 0 or (rules.required and not field.has_presence)

    def out_of_range(amount: int, currency: str) -> str:
        if amount == 0 and never_zero:
            return scalars.NOT_ZERO
        if least is not None and amount < least:
            return f"must be at least {money.render(least, currency)} {currency}"
        if most is not None and amount > most:
            return f"must be at most {money.render(most, currency)} {currency}"
        return ""

    return out_of_range


def _currency(target: message.Message, path: str, violations: Violations, default: str) -> str:
    """Return the currency of an amount; empty, and a note why, where there is none."""
    prefix = path.rpartition(".")[0]
    currency_path = f"{prefix}.{CURRENCY}" if prefix else CURRENCY
    currency: str = getattr(target, CURRENCY) or default
    known = not violations.names(currency_path)
    if known and not currency:
        violations.add(currency_path, f"is required with {path.removeprefix(prefix).strip('.')}")
    elif known and (description := formats.of(options_pb2.FORMAT_CURRENCY).wrong(currency)):
        violations.add(currency_path, description)
    elif known:
        return currency
    violations.unread.add(path)
    return ""


def _parse(value: Any, currency: str, path: str, violations: Violations) -> int | None:
    """Return the minor units of a number or a string, by its text; or None, and a note why not.

    Without a currency there are none, but a text that would be no amount in any one is noted.
    """
    if not isinstance(value, str):
        violations.add(path, "is not an amount, such as 100.00")
        return None
    try:
        if currency:
            return money.parse(value, currency)
        money.check_form(value)
    except money.InvalidAmount as error:
        violations.add(path, str(error))
    return None
