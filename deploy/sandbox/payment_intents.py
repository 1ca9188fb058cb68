"""PaymentIntents: one wish to be paid, through all its states."""

from typing import Any

from deploy.sandbox import (
    authorizations,
    challenges,
    confirmations,
    currencies,
    errors,
    events,
    listings,
    methods_offered,
    payment_methods,
)
from deploy.sandbox.confirmations import Terms
from deploy.sandbox.parameters import (
    Arguments,
    Boolean,
    Choice,
    Fields,
    Integer,
    Metadata,
    Parameter,
    Text,
    Unlisted,
    Unsupported,
    clearable,
    merged,
)
from deploy.sandbox.payment_methods import SHIPPING
from deploy.sandbox.replies import Reply
from deploy.sandbox.state import State
from deploy.sandbox.store import Object

_USAGE = Choice(("off_session", "on_session"))
_CAPTURE = Choice(("automatic", "automatic_async", "manual"))
_UNSUPPORTED: dict[str, Parameter] = dict.fromkeys(
    ("amount_details", "application_fee_amount", "customer_account", "hooks", "payment_details", "transfer_data"),
    Unsupported(),
)
_CONFIRM_ONLY: dict[str, Parameter] = {
    "confirmation_token": Unsupported(),
    "error_on_requires_action": Boolean(),
    "mandate": Unsupported(),
    "mandate_data": Unlisted(),
    "off_session": Boolean(),
    "radar_options": Unsupported(),
    "return_url": Text(),
    "use_stripe_sdk": Unsupported(),
}
_SHARED: dict[str, Parameter] = {
    "capture_method": _CAPTURE,
    "payment_method": Text(),
    "payment_method_data": Fields(payment_methods.DATA),
    "payment_method_options": methods_offered.OPTIONS,
    "receipt_email": Text(),
    "setup_future_usage": _USAGE,
    "shipping": SHIPPING,
    **methods_offered.PARAMETERS,
    **_UNSUPPORTED,
}
_EDITABLE: dict[str, Parameter] = {
    **_SHARED,
    "amount": Integer(minimum=1, required=True),
    "currency": Text(required=True),
    "customer": Text(),
    "description": Text(),
    "metadata": Metadata(),
    "payment_method_configuration": Unsupported(),
    "statement_descriptor": Text(limit=22),
    "statement_descriptor_suffix": Text(limit=22),
    "transfer_group": Text(),
}

CREATE = Fields(
    {
        **_EDITABLE,
        **_CONFIRM_ONLY,
        "automatic_payment_methods": methods_offered.AUTOMATIC,
        "confirm": Boolean(),
        "confirmation_method": Choice(("automatic", "manual")),
        "on_behalf_of": Unsupported(),
    }
)
_NEVER_CLEARED = {name: _SHARED[name] for name in ("capture_method", "payment_method", "payment_method_data")}
UPDATE = Fields({**clearable(_EDITABLE), **_NEVER_CLEARED})
CONFIRM = Fields({**clearable(_SHARED), **_CONFIRM_ONLY, **_NEVER_CLEARED, "amount_to_confirm": Unsupported()})
CANCEL = Fields({"cancellation_reason": Choice(("abandoned", "duplicate", "fraudulent", "requested_by_customer"))})
RETRIEVE = Fields({"client_secret": Text()})
LIST = listings.parameters(customer=Text(), customer_account=Unsupported())

_UNPAID = ("requires_payment_method", "requires_confirmation", "requires_action")
_ALWAYS_EDITABLE = ("description", "metadata", "receipt_email", "shipping", "transfer_group")


def create(state: State, arguments: Arguments) -> Object | Reply:
    """A new PaymentIntent, confirmed at once if asked."""
    currency = currencies.known(arguments["currency"]).code
    currencies.check_amount(arguments["amount"], currency)
    confirmed = arguments.pop("confirm", False)
    terms = _terms(arguments, confirmed=confirmed)
    intent = _render(state, {**arguments, "currency": currency})
    method = _method(state, arguments)
    if method is not None:
        intent.update(payment_method=method["id"], status="requires_confirmation")
    state.store.put(intent)
    events.record(state, "payment_intent.created", intent)
    return _confirm(state, intent, method, terms) if confirmed else intent


def retrieve(state: State, arguments: Arguments) -> Object:
    """One PaymentIntent."""
    intent = _get(state, arguments["id"])
    if arguments.get("client_secret", intent["client_secret"]) != intent["client_secret"]:
        raise errors.ApiError("The client_secret does not belong to this PaymentIntent.", param="client_secret")
    return intent


def list_(state: State, arguments: Arguments) -> Object:
    """PaymentIntents, newest first."""
    return listings.page(state, "payment_intent", "/v1/payment_intents", arguments)


def update(state: State, arguments: Arguments) -> Object:
    """Change what is still open; once paid, only what describes the payment."""
    intent = _get(state, arguments.pop("id"))
    locked = [name for name in arguments if name not in _ALWAYS_EDITABLE]
    if locked and intent["status"] not in _UNPAID:
        raise errors.UnexpectedState(
            f"This PaymentIntent's {locked[0]} could not be updated because it has a status of {intent['status']}. "
            f"It may only be updated with one of the following statuses: {', '.join(_UNPAID)}.",
            intent,
        )
    _edit(state, intent, arguments)
    method = _method(state, arguments)
    if method is not None:
        challenges.withdraw(state, intent)
        intent.update(payment_method=method["id"], status="requires_confirmation")
    currencies.check_amount(intent["amount"], intent["currency"])
    state.store.put(intent)
    return intent


def confirm(state: State, arguments: Arguments) -> Object | Reply:
    """Try to pay."""
    intent = _get(state, arguments.pop("id"))
    if intent["status"] not in _UNPAID:
        raise errors.UnexpectedState(
            f"You cannot confirm this PaymentIntent because it has a status of {intent['status']}. Only a "
            f"PaymentIntent with one of the following statuses may be confirmed: {', '.join(_UNPAID)}.",
            intent,
        )
    terms = _terms(arguments, confirmed=True)
    _edit(state, intent, arguments)
    return _confirm(state, intent, _method(state, arguments), terms)


def cancel(state: State, arguments: Arguments) -> Object:
    """Give up a payment that was not made; a reservation is released."""
    intent = _get(state, arguments["id"])
    allowed = (*_UNPAID, "requires_capture")
    if intent["status"] not in allowed:
        raise errors.UnexpectedState(
            f"You cannot cancel this PaymentIntent because it has a status of {intent['status']}. Only a "
            f"PaymentIntent with one of the following statuses may be canceled: {', '.join(allowed)}.",
            intent,
        )
    reason = arguments.get("cancellation_reason")
    return authorizations.cancel(state, intent, reason=reason, released_as="charge.refunded")


def _get(state: State, identifier: str) -> Object:
    return state.get("payment_intent", identifier, param="intent")


def _confirm(state: State, intent: Object, method: Object | None, terms: Terms) -> Object | Reply:
    if method is None and intent["payment_method"] is not None:
        method = state.get("payment_method", intent["payment_method"])
    if method is None:
        raise errors.UnexpectedState(
            "You cannot confirm this PaymentIntent because it's missing a payment method. Provide one and try again.",
            intent,
        )
    automatic = intent["automatic_payment_methods"] or {}
    if automatic.get("allow_redirects") == "always" and terms.return_url is None and not terms.off_session:
        raise errors.InvalidParameter(
            "This PaymentIntent may redirect the payer. Provide a `return_url`, or refuse such payment methods with "
            "`automatic_payment_methods[enabled]=true` and `automatic_payment_methods[allow_redirects]=never`.",
            param="return_url",
        )
    return confirmations.confirm(state, intent, method, terms)


def _terms(arguments: Arguments, *, confirmed: bool) -> Terms:
    given = {name: arguments.pop(name) for name in _CONFIRM_ONLY if name in arguments}
    if given and not confirmed:
        name = next(iter(given))
        raise errors.InvalidParameter(f"`{name}` can only be used with confirm=true.", param=name)
    given.pop("mandate_data", None)
    return Terms(**given)


def _method(state: State, arguments: Arguments) -> Object | None:
    if arguments.get("payment_method_data") is not None:
        return payment_methods.create(state, dict(arguments["payment_method_data"]))
    if arguments.get("payment_method") is not None:
        return payment_methods.usable(state, arguments["payment_method"])
    return None


def _edit(state: State, intent: Object, arguments: Arguments) -> None:
    changes = {name: value for name, value in arguments.items() if not name.startswith("payment_method")}
    if changes.get("customer") is not None:
        state.get("customer", changes["customer"], param="customer")
    if "currency" in changes:
        changes["currency"] = currencies.known(changes["currency"]).code
    if "metadata" in changes:
        changes["metadata"] = merged(intent["metadata"], changes["metadata"])
    intent.update(changes)
    if "payment_method_options" in arguments:
        intent["payment_method_options"] = methods_offered.options(arguments)
    methods_offered.offer(state, intent, arguments)


def _render(state: State, arguments: Arguments) -> Object:
    identifier = state.identifier("pi")
    intent: dict[str, Any] = {
        "id": identifier,
        "object": "payment_intent",
        "allowed_payment_method_types": None,
        "amount": arguments["amount"],
        "amount_capturable": 0,
        "amount_details": {"tip": {}},
        "amount_received": 0,
        "application": None,
        "application_fee_amount": None,
        "automatic_payment_methods": None,
        "canceled_at": None,
        "cancellation_reason": None,
        "capture_method": arguments.get("capture_method", "automatic_async"),
        "client_secret": f"{identifier}_secret_{state.identifier('', 25)[1:]}",
        "confirmation_method": arguments.get("confirmation_method", "automatic"),
        "created": state.clock.now(),
        "currency": arguments["currency"],
        "customer": arguments.get("customer"),
        "customer_account": None,
        "description": arguments.get("description"),
        "excluded_payment_method_types": None,
        "last_payment_error": None,
        "latest_charge": None,
        "livemode": False,
        "managed_payments": None,
        "metadata": merged({}, arguments.get("metadata", {})),
        "next_action": None,
        "on_behalf_of": None,
        "payment_method": None,
        "payment_method_configuration_details": None,
        "payment_method_options": methods_offered.options(arguments),
        "payment_method_types": [],
        "payment_record": None,
        "processing": None,
        "receipt_email": arguments.get("receipt_email"),
        "review": None,
        "setup_future_usage": arguments.get("setup_future_usage"),
        "shipping": arguments.get("shipping"),
        "source": None,
        "statement_descriptor": arguments.get("statement_descriptor"),
        "statement_descriptor_suffix": arguments.get("statement_descriptor_suffix"),
        "status": "requires_payment_method",
        "transfer_data": None,
        "transfer_group": arguments.get("transfer_group"),
    }
    if intent["customer"] is not None:
        state.get("customer", intent["customer"], param="customer")
    methods_offered.offer(state, intent, arguments)
    return intent
