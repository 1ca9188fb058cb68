"""The messages of what admins set on accounts."""

import uuid
from collections.abc import Collection
from typing import Any, Final

from kobklein import errors, formats, masks
from kobklein.options.v1 import options_pb2
from kobklein.wallets.v1 import accounts_pb2, ledger_pb2
from wallets_service import audit, controls, models
from wallets_service.ledger import entries, free_data
from wallets_service.messages import common

_LIMITS: Final = {"transfer_amount": "transfer_limit", "day_amount": "day_limit", "month_amount": "month_limit"}
"""The limits of an account, by their names in the contract."""
_OVERDRAFT: Final = ("overdraft_limit", "unlimited_overdraft")
"""The two ways in which a mask names the overdraft."""
_CURRENCIES: Final = ("currency", "limits.currency")
"""What a mask may name without changing it: a PATCH over REST gives it to say what its amounts are."""


def change(request: accounts_pb2.UpdateAccountRequest) -> controls.Change:
    """Return what an update asks for.

    Raises InvalidArgument for a mask that names something else.
    """
    values, wrong = _values(request.account, masks.paths(request, request.account))
    if "overdraft_limit" in values:
        wrong += _wrong_overdraft(request.account)
    if wrong:
        raise errors.InvalidArgument(*wrong)
    return controls.Change(values=values, currencies=_currencies(request.account), etag=request.etag)


def _values(given: ledger_pb2.Account, paths: Collection[str]) -> tuple[dict[str, Any], list[errors.Violation]]:
    """Return new values of columns by the paths of a mask, and what is wrong with those."""
    values, wrong = dict[str, Any](), list[errors.Violation]()
    for path in paths:
        if path in _OVERDRAFT:
            values["overdraft_limit"] = _overdraft(given, limited="overdraft_limit" in paths)
        elif path == "metadata":
            values["metadata_"] = free_data.of_message(given.metadata)
        elif path == "limits":
            values |= {column: _limit(given.limits, name) for name, column in _LIMITS.items()}
        elif path.removeprefix("limits.") in _LIMITS and path.startswith("limits."):
            name = path.removeprefix("limits.")
            values[_LIMITS[name]] = _limit(given.limits, name)
        elif path not in _CURRENCIES:
            wrong.append(errors.Violation("update_mask", f"{path!r} cannot be updated"))
    return values, wrong


def _overdraft(given: ledger_pb2.Account, *, limited: bool) -> int | controls.Default | None:
    """Return the overdraft limit to set; `limited` says whether the mask names it, and not only that there is one."""
    if given.unlimited_overdraft:
        return None
    if given.HasField("overdraft_limit"):
        return given.overdraft_limit
    return controls.Default.OF_ADDRESS if limited else controls.Default.FINITE


def _wrong_overdraft(given: ledger_pb2.Account) -> list[errors.Violation]:
    if given.unlimited_overdraft and given.HasField("overdraft_limit"):
        return [errors.Violation("account.unlimited_overdraft", "cannot stand beside an overdraft limit")]
    return []


def _limit(limits: ledger_pb2.Limits, name: str) -> int | None:
    """Return an amount of limits by its name in the contract; None when it is absent."""
    amount: int = getattr(limits, name)
    return amount if limits.HasField(name) else None  # type: ignore[arg-type]  # a name of the contract


def _currencies(account: ledger_pb2.Account) -> dict[str, str]:
    given = {"account.currency": account.currency, "account.limits.currency": account.limits.currency}
    return {field: currency for field, currency in given.items() if currency}


def directions(direction: "accounts_pb2.FreezeDirection.ValueType") -> dict[str, bool]:
    """Return which ways a freeze stops money; the unspecified one is both."""
    return {
        "debit": direction != accounts_pb2.FREEZE_DIRECTION_CREDIT,
        "credit": direction != accounts_pb2.FREEZE_DIRECTION_DEBIT,
    }


def currency_limits_of(message: ledger_pb2.Limits) -> entries.Limits:
    """Return the limits to set; raises InvalidArgument when they are of no currency."""
    if not message.currency:
        raise errors.InvalidArgument.of("limits.currency", "is required")
    return entries.Limits(*(_limit(message, name) for name in _LIMITS))


def currency_limits(row: models.CurrencyLimits) -> ledger_pb2.Limits:
    """Return the limits of a currency."""
    return ledger_pb2.Limits(
        currency=row.currency,
        transfer_amount=row.transfer_limit,
        day_amount=row.day_limit,
        month_amount=row.month_limit,
    )


def audit_filter(request: accounts_pb2.ListAuditEntriesRequest) -> audit.Filter:
    """Return which entries a request asks for."""
    return audit.Filter(
        subject=_subject(request.subject),
        actor=request.actor,
        created_from=common.given_time(request, "created_from"),
        created_before=common.given_time(request, "created_before"),
    )


def _subject(subject: str) -> str:
    """Return what a record is of; the id of an account in small letters."""
    kind, separator, id_ = subject.partition("/")
    if kind != "account":
        return subject
    return f"{kind}{separator}{formats.of(options_pb2.FORMAT_UUID).normal(id_)}"


def audit_entry(row: models.AuditEntry) -> accounts_pb2.AuditEntry:
    """Return an entry."""
    return accounts_pb2.AuditEntry(
        id=str(row.id),
        subject=row.subject,
        action=row.action,
        actor=row.actor,
        reason=row.reason,
        before=common.struct(_shown(row.before or {})),
        after=common.struct(_shown(row.after or {})),
        created_time=common.timestamp(row.created_time),
    )


def _shown(recorded: dict[str, Any]) -> dict[str, Any]:
    """Return what an entry holds under the names that JSON has; free data stays as it is."""
    return {
        _json_name(name): _shown(value) if isinstance(value, dict) and name != "metadata" else value
        for name, value in recorded.items()
    }


def _json_name(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(map(str.capitalize, others))


def audit_position(position: list[Any] | None) -> uuid.UUID | None:
    """Return the entry after which a page goes on."""
    return uuid.UUID(position[0]) if position else None
