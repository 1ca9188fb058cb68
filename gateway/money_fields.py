"""Fields that count minor units, shown as decimals of the currency that stands beside them."""

from collections.abc import Callable
from typing import Any, Final

from google.protobuf import descriptor, message

from gateway.violations import Violations
from kobklein import money, validation

CURRENCY: Final = "currency"
"""Name of the field that says in which currency the amounts beside it are."""
_INTEGERS: Final = frozenset(
    (
        descriptor.FieldDescriptor.CPPTYPE_INT32,
        descriptor.FieldDescriptor.CPPTYPE_INT64,
        descriptor.FieldDescriptor.CPPTYPE_UINT32,
        descriptor.FieldDescriptor.CPPTYPE_UINT64,
    )
)

Fill = Callable[[message.Message, Any, str, Violations], None]


def fill(field: descriptor.FieldDescriptor) -> Fill:
    """Return how a field of money is read; raises TypeError when its message names no currency."""
    name, default = field.name, validation.rules_of(_currency_of(field)).default_value

    def one(target: message.Message, value: Any, path: str, violations: Violations) -> None:
        amount = _parse(target, value, path, violations, default)
        if amount is not None:
            setattr(target, name, amount)

    def many(target: message.Message, value: Any, path: str, violations: Violations) -> None:
        for index, item in enumerate(violations.list(value, path)):
            amount = _parse(target, item, f"{path}[{index}]", violations, default)
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
    if field.cpp_type not in _INTEGERS:
        raise TypeError(f"{field.full_name} counts minor units, but holds no whole numbers")
    return currency


def _parse(target: message.Message, value: Any, path: str, violations: Violations, default: str) -> int | None:
    """Return the minor units of a number or a string, by its text; or None, and a note why not."""
    prefix = path.rpartition(".")[0]
    currency_path = f"{prefix}.{CURRENCY}" if prefix else CURRENCY
    currency = getattr(target, CURRENCY) or default
    if violations.names(currency_path):
        violations.unread.add(path)
        return None
    if not currency:
        violations.unread.add(path)
        violations.add(currency_path, f"is required with {path.removeprefix(prefix).strip('.')}")
        return None
    if not isinstance(value, str):
        violations.add(path, "is not an amount, such as 100.00")
        return None
    try:
        return money.parse(value, currency)
    except money.InvalidAmount as error:
        violations.add(path, str(error))
    except money.UnknownCurrency:
        violations.unread.add(path)
        violations.add(currency_path, "is not a currency of ISO 4217")
    return None
