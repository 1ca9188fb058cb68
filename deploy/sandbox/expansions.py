"""Expansion: ids in an answer replaced by the objects they name."""

from deploy.sandbox import errors, listings
from deploy.sandbox.state import State
from deploy.sandbox.store import Object

DEPTH_LIMIT = 4

_EXPANDABLE = {
    "payment_intent": ("customer", "latest_charge", "payment_method"),
    "charge": ("balance_transaction", "customer", "failure_balance_transaction", "payment_intent", "refunds"),
    "refund": ("balance_transaction", "charge", "failure_balance_transaction", "payment_intent"),
    "dispute": ("charge", "payment_intent"),
    "setup_intent": ("customer", "payment_method"),
    "payment_method": ("customer",),
    "balance_transaction": ("source",),
}


def expand(state: State, answer: Object, paths: list[str]) -> None:
    """Replace what each dotted path names; `data.` leads into the items of a list."""
    for path in paths:
        names = path.split(".")
        if len(names) > DEPTH_LIMIT:
            raise errors.InvalidParameter("You cannot expand more than 4 levels of a property.", param="expand")
        _walk(state, answer, names, path)


def _walk(state: State, item: Object, names: list[str], path: str) -> None:
    name, *rest = names
    if item["object"] == "list" and name == "data":
        if not rest:
            raise _refusal(path)
        for member in item["data"]:
            _walk(state, member, rest, path)
        return
    if name not in _EXPANDABLE.get(item["object"], ()):
        raise _refusal(path)
    if name == "refunds":
        item["refunds"] = _refunds(state, item)
    value = item[name]
    if isinstance(value, str):
        value = item[name] = state.store.get(value)
    if rest and value is not None:
        _walk(state, value, rest, path)


def _refunds(state: State, charge: Object) -> Object:
    newest_first = state.store.select("refund", charge=charge["id"])[::-1]
    return listings.envelope(newest_first[:10], f"/v1/charges/{charge['id']}/refunds", more=len(newest_first) > 10)


def _refusal(path: str) -> errors.InvalidParameter:
    return errors.InvalidParameter(f"This property cannot be expanded ({path}).", param="expand")
