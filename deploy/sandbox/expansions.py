"""Expansion: ids in an answer replaced by the objects they name."""

from deploy.sandbox import errors, listings
from deploy.sandbox.state import State
from deploy.sandbox.store import Object

DEPTH_LIMIT = 4

EXPANDABLE: dict[str, frozenset[str]] = {
    kind: frozenset(names.split())
    for kind, names in {
        "payment_intent": "application customer latest_charge on_behalf_of payment_method payment_record review source"
        " transfer_data.destination",
        "charge": "application application_fee balance_transaction customer failure_balance_transaction on_behalf_of"
        " outcome.rule payment_intent payment_method_details.card.mandate"
        " payment_method_details.us_bank_account.mandate review source_transfer transfer transfer_data.destination",
        "refund": "balance_transaction charge customer failure_balance_transaction payment_intent payment_method"
        " source_transfer_reversal transfer_reversal",
        "dispute": "charge payment_intent"
        " evidence.cancellation_policy evidence.customer_communication evidence.customer_signature"
        " evidence.duplicate_charge_documentation evidence.receipt evidence.refund_policy"
        " evidence.service_documentation evidence.shipping_documentation evidence.uncategorized_file",
        "setup_intent": "application customer latest_attempt mandate on_behalf_of payment_method single_use_mandate",
        "payment_method": "card.generated_from.setup_attempt customer",
        "balance_transaction": "source",
        "customer": "default_source invoice_settings.default_payment_method test_clock",
    }.items()
}
"""Which members of each kind of object can be expanded, as the official SDK has them; a dot leads into a member."""


def expand(state: State, answer: Object, paths: list[str]) -> None:
    """Replace what each dotted path names; `data.` leads into the items of a list."""
    for path in paths:
        names = path.split(".")
        if len(names) > DEPTH_LIMIT:
            raise errors.InvalidParameter("You cannot expand more than 4 levels of a property.", param="expand")
        _walk(state, answer, names, path)


def _walk(state: State, item: Object, names: list[str], path: str) -> None:
    if item["object"] == "list" and names[0] == "data":
        if not names[1:]:
            raise _refusal(path)
        for member in item["data"]:
            _walk(state, member, names[1:], path)
        return
    if item["object"] == "charge" and names[0] == "refunds":
        item["refunds"] = _refunds(state, item)
        leading = 1
    else:
        leading = _leading(item, names, path)
    value = _expanded(state, item, names[:leading])
    if names[leading:] and value is not None:
        _walk(state, value, names[leading:], path)


def _leading(item: Object, names: list[str], path: str) -> int:
    """How many of the names lead to a member of `item` that can be expanded."""
    expandable = EXPANDABLE.get(item["object"], frozenset())
    for count in range(1, len(names) + 1):
        if ".".join(names[:count]) in expandable:
            return count
    raise _refusal(path)


def _expanded(state: State, item: Object, names: list[str]) -> Object | None:
    """Replace the id in a member by its object, and return that; None where there is nothing, or nothing simulated."""
    *around, name = names
    for each in around:
        item = item.get(each) or {}
    value = item.get(name)
    if isinstance(value, str):
        value = state.store.get(value)
        if value is not None:
            item[name] = value
    return value


def _refunds(state: State, charge: Object) -> Object:
    newest_first = state.store.select("refund", charge=charge["id"])[::-1]
    return listings.envelope(newest_first[:10], f"/v1/charges/{charge['id']}/refunds", more=len(newest_first) > 10)


def _refusal(path: str) -> errors.InvalidParameter:
    return errors.InvalidParameter(f"This property cannot be expanded ({path}).", param="expand")
