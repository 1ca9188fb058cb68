"""Customers: whose saved payment methods they are."""

from deploy.sandbox import events, listings, payment_methods
from deploy.sandbox.parameters import (
    Arguments,
    Array,
    Choice,
    Fields,
    Integer,
    Metadata,
    Parameter,
    Text,
    Unsupported,
    clearable,
    merged,
)
from deploy.sandbox.state import State
from deploy.sandbox.store import Object

_TEXTS = ("business_name", "description", "email", "individual_name", "name", "phone")
_EDITABLE: dict[str, Parameter] = {
    "address": payment_methods.ADDRESS,
    "balance": Integer(),
    **{name: Text() for name in _TEXTS},
    "invoice_prefix": Text(),
    "invoice_settings": Fields({"default_payment_method": Text(clearable=True)}),
    "metadata": Metadata(),
    "next_invoice_sequence": Integer(minimum=1),
    "preferred_locales": Array(Text()),
    "shipping": Fields(
        {"address": Fields(payment_methods.ADDRESS.members), "name": Text(required=True), "phone": Text()}
    ),
    "tax_exempt": Choice(("exempt", "none", "reverse")),
    **dict.fromkeys(("cash_balance", "source", "tax", "validate"), Unsupported()),
}

CREATE = Fields({**_EDITABLE, "payment_method": Text(), "tax_id_data": Unsupported(), "test_clock": Unsupported()})
UPDATE = Fields({**clearable(_EDITABLE), "default_source": Unsupported()})
RETRIEVE = Fields({})
DELETE = Fields({})
LIST = listings.parameters(email=Text(), test_clock=Unsupported())


def create(state: State, arguments: Arguments) -> Object:
    """A new customer, with a first payment method if given; a declined card makes no customer."""
    method = arguments.pop("payment_method", None)
    customer = _render(state)
    _edit(customer, arguments)
    state.store.put(customer)
    events.record(state, "customer.created", customer)
    if method is not None:
        payment_methods.attach(state, {"id": method, "customer": customer["id"]})
    return customer


def retrieve(state: State, arguments: Arguments) -> Object:
    """One customer, or the note that it was deleted."""
    gone = state.store.get(arguments["id"])
    return gone if gone == _gone(arguments["id"]) else state.get("customer", arguments["id"])


def list_(state: State, arguments: Arguments) -> Object:
    """Customers, newest first, without the deleted."""
    alive = {"livemode": 0}  # The note that a customer was deleted has no such member.
    return listings.page(state, "customer", "/v1/customers", {**arguments, **alive})


def update(state: State, arguments: Arguments) -> Object:
    """Change what describes a customer."""
    customer = state.get("customer", arguments.pop("id"))
    before = {**customer, "invoice_settings": dict(customer["invoice_settings"])}
    default = (arguments.get("invoice_settings") or {}).get("default_payment_method")
    if default is not None:
        state.get("payment_method", default, param="invoice_settings[default_payment_method]")
    _edit(customer, arguments)
    state.store.put(customer)
    events.record(state, "customer.updated", customer, before=before)
    return customer


def delete(state: State, arguments: Arguments) -> Object:
    """Delete a customer for good; saved payment methods are detached."""
    customer = state.get("customer", arguments["id"])
    for method in state.store.select("payment_method", customer=customer["id"]):
        payment_methods.detach(state, {"id": method["id"]})
    gone = _gone(customer["id"])
    state.store.put(gone)
    events.record(state, "customer.deleted", customer)
    return gone


def _gone(identifier: str) -> Object:
    return {"id": identifier, "object": "customer", "deleted": True}


def _edit(customer: Object, arguments: Arguments) -> None:
    changes = dict(arguments)
    if "metadata" in changes:
        customer["metadata"] = merged(customer["metadata"], changes.pop("metadata"))
    if "invoice_settings" in changes:
        customer["invoice_settings"].update(changes.pop("invoice_settings"))
    if changes.get("address") is not None:
        changes["address"] = {**dict.fromkeys(payment_methods.ADDRESS.members), **changes["address"]}
    customer.update(changes)


def _render(state: State) -> Object:
    identifier = state.identifier("cus", 14)
    return {
        "id": identifier,
        "object": "customer",
        "address": None,
        "balance": 0,
        "created": state.clock.now(),
        "currency": None,
        "customer_account": None,
        "default_source": None,
        "delinquent": False,
        "description": None,
        "discount": None,
        "email": None,
        "invoice_prefix": identifier[-8:].upper(),
        "invoice_settings": {
            "custom_fields": None,
            "default_payment_method": None,
            "footer": None,
            "rendering_options": None,
        },
        "livemode": False,
        "metadata": {},
        "name": None,
        "next_invoice_sequence": 1,
        "phone": None,
        "preferred_locales": [],
        "shipping": None,
        "tax_exempt": "none",
        "test_clock": None,
    }
