"""SetupIntents: a payment method saved for later without a payment."""

from typing import Any

from deploy.sandbox import challenges, errors, events, instruments, listings, methods_offered, payment_methods
from deploy.sandbox.instruments import Challenge
from deploy.sandbox.parameters import (
    Arguments,
    Boolean,
    Choice,
    Fields,
    Metadata,
    Parameter,
    Text,
    Unlisted,
    Unsupported,
    clearable,
    merged,
)
from deploy.sandbox.replies import Reply
from deploy.sandbox.state import State
from deploy.sandbox.store import Object

_METHOD: dict[str, Parameter] = {
    "payment_method": Text(),
    "payment_method_data": Fields(payment_methods.DATA),
    "payment_method_options": methods_offered.OPTIONS,
}
_EDITABLE: dict[str, Parameter] = {
    **_METHOD,
    **methods_offered.PARAMETERS,
    "customer": Text(),
    "description": Text(),
    "metadata": Metadata(),
    **dict.fromkeys(
        ("attach_to_self", "customer_account", "flow_directions", "payment_method_configuration"), Unsupported()
    ),
}
_CONFIRM_ONLY: dict[str, Parameter] = {
    "confirmation_token": Unsupported(),
    "mandate_data": Unlisted(),
    "return_url": Text(),
    "use_stripe_sdk": Unsupported(),
}

CREATE = Fields(
    {
        **_EDITABLE,
        **_CONFIRM_ONLY,
        "automatic_payment_methods": methods_offered.AUTOMATIC,
        "confirm": Boolean(),
        "usage": Choice(("off_session", "on_session")),
        "on_behalf_of": Unsupported(),
        "single_use": Unsupported(),
    }
)
UPDATE = Fields(clearable(_EDITABLE))
CONFIRM = Fields({**_METHOD, **_CONFIRM_ONLY})
CANCEL = Fields({"cancellation_reason": Choice(("abandoned", "duplicate", "requested_by_customer"))})
RETRIEVE = Fields({"client_secret": Text()})
LIST = listings.parameters(
    customer=Text(), payment_method=Text(), attach_to_self=Unsupported(), customer_account=Unsupported()
)

_OPEN = ("requires_payment_method", "requires_confirmation", "requires_action")


def create(state: State, arguments: Arguments) -> Object | Reply:
    """A new SetupIntent, confirmed at once if asked."""
    intent = _render(state, arguments)
    method = _choose(state, intent, arguments)
    state.store.put(intent)
    events.record(state, "setup_intent.created", intent)
    if arguments.get("confirm", False):
        return _confirm(state, intent, method, return_url=arguments.get("return_url"))
    return intent


def retrieve(state: State, arguments: Arguments) -> Object:
    """One SetupIntent."""
    return _get(state, arguments["id"])


def list_(state: State, arguments: Arguments) -> Object:
    """SetupIntents, newest first."""
    return listings.page(state, "setup_intent", "/v1/setup_intents", arguments)


def update(state: State, arguments: Arguments) -> Object:
    """Change what is still open."""
    intent = _expect(_get(state, arguments["id"]), "updated")
    _customer(state, arguments)
    for name in ("customer", "description"):
        if name in arguments:
            intent[name] = arguments[name]
    if "metadata" in arguments:
        intent["metadata"] = merged(intent["metadata"], arguments["metadata"])
    methods_offered.offer(state, intent, {**arguments})
    _choose(state, intent, arguments)
    state.store.put(intent)
    return intent


def confirm(state: State, arguments: Arguments) -> Object | Reply:
    """Save the payment method, after a challenge if the issuer wants one."""
    intent = _expect(_get(state, arguments["id"]), "confirmed")
    method = _choose(state, intent, arguments)
    return _confirm(state, intent, method, return_url=arguments.get("return_url"))


def cancel(state: State, arguments: Arguments) -> Object:
    """Give up."""
    intent = _expect(_get(state, arguments["id"]), "canceled")
    challenges.withdraw(state, intent)
    intent.update(status="canceled", cancellation_reason=arguments.get("cancellation_reason"))
    state.store.put(intent)
    events.record(state, "setup_intent.canceled", intent)
    return intent


def finish(state: State, intent: Object, method: Object) -> Object:
    """The payment method is saved, and kept for the customer if there is one."""
    intent.update(status="succeeded", next_action=None)
    state.store.put(intent)
    events.record(state, "setup_intent.succeeded", intent)
    if intent["customer"] is not None:
        payment_methods.keep(state, method, intent["customer"])
    return intent


def fail_authentication(state: State, intent: Object, method: Object) -> Object:
    """The payer refused or failed the challenge."""
    error = {
        "code": "setup_intent_authentication_failure",
        "message": "The payer did not authenticate this payment method.",
        "type": "invalid_request_error",
    }
    return _reset(state, intent, method, error)


def _confirm(state: State, intent: Object, method: Object | None, *, return_url: str | None) -> Object | Reply:
    if method is None and intent["payment_method"] is not None:
        method = state.get("payment_method", intent["payment_method"])
    if method is None:
        raise errors.UnexpectedState(
            "You cannot confirm this SetupIntent because it's missing a payment method.", intent
        )
    challenges.withdraw(state, intent)
    instrument = instruments.of(method)
    if instrument.decline is not None and not instrument.saves and not instrument.delayed:
        error = {**instrument.decline.error(), "payment_method": method}
        return Reply.of(402, {"error": {**error, "setup_intent": _reset(state, intent, method, error)}})
    asks = instrument.challenge in (Challenge.ALWAYS, Challenge.ON_SESSION)
    if not asks and not challenges.needed(state, intent, method, instrument, off_session=False):
        return finish(state, intent, method)
    challenges.begin(state, intent, method, return_url=return_url)
    state.store.put(intent)
    events.record(state, "setup_intent.requires_action", intent)
    return intent


def _reset(state: State, intent: Object, method: Object, error: Object) -> Object:
    error = {**error, "payment_method": method}
    intent.update(status="requires_payment_method", payment_method=None, next_action=None, last_setup_error=error)
    state.store.put(intent)
    events.record(state, "setup_intent.setup_failed", intent)
    return intent


def _get(state: State, identifier: str) -> Object:
    return state.get("setup_intent", identifier, param="intent")


def _expect(intent: Object, verb: str) -> Object:
    if intent["status"] not in _OPEN:
        message = f"This SetupIntent cannot be {verb} because it has a status of {intent['status']}."
        raise errors.UnexpectedState(message, intent)
    return intent


def _customer(state: State, arguments: Arguments) -> str | None:
    customer: str | None = arguments.get("customer")
    if customer is not None:
        state.get("customer", customer, param="customer")
    return customer


def _choose(state: State, intent: Object, arguments: Arguments) -> Object | None:
    if arguments.get("payment_method_data") is not None:
        method = payment_methods.create(state, dict(arguments["payment_method_data"]))
    elif arguments.get("payment_method") is not None:
        method = payment_methods.usable(state, arguments["payment_method"])
    else:
        return None
    intent.update(payment_method=method["id"], status="requires_confirmation", last_setup_error=None)
    return method


def _render(state: State, arguments: Arguments) -> Object:
    identifier = state.identifier("seti")
    intent: dict[str, Any] = {
        "id": identifier,
        "object": "setup_intent",
        "allowed_payment_method_types": None,
        "application": None,
        "automatic_payment_methods": None,
        "cancellation_reason": None,
        "client_secret": f"{identifier}_secret_{state.identifier('', 25)[1:]}",
        "created": state.clock.now(),
        "customer": _customer(state, arguments),
        "customer_account": None,
        "description": arguments.get("description"),
        "excluded_payment_method_types": None,
        "flow_directions": None,
        "last_setup_error": None,
        "latest_attempt": None,
        "livemode": False,
        "mandate": None,
        "metadata": merged({}, arguments.get("metadata", {})),
        "next_action": None,
        "on_behalf_of": None,
        "payment_method": None,
        "payment_method_configuration_details": None,
        "payment_method_options": methods_offered.options(arguments),
        "payment_method_types": [],
        "single_use_mandate": None,
        "status": "requires_payment_method",
        "usage": arguments.get("usage", "off_session"),
    }
    methods_offered.offer(state, intent, arguments)
    return intent
