"""Which payment methods an intent offers, and the options of each."""

from typing import Any

from deploy.sandbox import errors
from deploy.sandbox.parameters import Arguments, Array, Boolean, Choice, Fields, Parameter, Text, Unlisted, Unsupported
from deploy.sandbox.state import State
from deploy.sandbox.store import Object

AUTOMATIC = Fields({"enabled": Boolean(required=True), "allow_redirects": Choice(("always", "never"))})
PARAMETERS: dict[str, Parameter] = {
    "allowed_payment_method_types": Array(Text()),
    "excluded_payment_method_types": Array(Text()),
    "payment_method_types": Array(Text()),
}
OPTIONS = Fields(
    {
        "card": Fields(
            {
                "request_three_d_secure": Choice(("any", "automatic", "challenge")),
                **dict.fromkeys(("capture_method", "moto", "network", "setup_future_usage"), Unsupported()),
            }
        ),
        "us_bank_account": Unlisted(),
    }
)
_TYPES_REMOVED = "2026-09-30"
"""The first version of the API that refuses `payment_method_types`."""


def offer(state: State, intent: Object, arguments: Arguments) -> None:
    """Work out `payment_method_types` from what the caller allows, excludes, or leaves to Stripe."""
    given = [name for name in ("automatic_payment_methods", *PARAMETERS) if arguments.get(name) is not None]
    if len(given) > 1:
        message = f"You may only specify one of these parameters: {', '.join(given)}."
        raise errors.InvalidParameter(message, param=given[1])
    if "payment_method_types" in given:
        _refuse_types(state)
    for name in ("allowed_payment_method_types", "excluded_payment_method_types"):
        if name in arguments:
            intent[name] = arguments[name]
    wanted = intent["allowed_payment_method_types"] or arguments.get("payment_method_types")
    if wanted is not None:
        intent["automatic_payment_methods"] = None
    elif arguments.get("automatic_payment_methods") is not None:
        intent["automatic_payment_methods"] = _automatic(arguments["automatic_payment_methods"])
    elif not intent["payment_method_types"]:
        intent["automatic_payment_methods"] = _automatic({"enabled": True})
    elif not given and not {"currency", "capture_method"} & arguments.keys():
        return
    intent["payment_method_types"] = _types(intent, wanted)


def options(arguments: Arguments) -> dict[str, Any]:
    """The options to show: what was given, with the defaults of cards."""
    given = arguments.get("payment_method_options") or {}
    card = {"installments": None, "mandate_options": None, "network": None, "request_three_d_secure": "automatic"}
    return {**given, "card": {**card, **given.get("card", {})}}


def _automatic(given: Arguments) -> dict[str, Any] | None:
    if not given["enabled"]:
        return None
    return {"allow_redirects": given.get("allow_redirects", "always"), "enabled": True}


def _types(intent: Object, wanted: list[str] | None) -> list[str]:
    debits = intent.get("currency", "usd") == "usd" and intent.get("capture_method") != "manual"
    possible = ["card", "us_bank_account"] if debits else ["card"]
    excluded = intent["excluded_payment_method_types"] or ()
    types = [kind for kind in possible if kind not in excluded and (wanted is None or kind in wanted)]
    if not types:
        raise errors.InvalidParameter("No payment method type is possible for this request.", param="currency")
    return types


def _refuse_types(state: State) -> None:
    if state.call.version >= _TYPES_REMOVED:
        raise errors.InvalidParameter(
            "`payment_method_types` cannot be set in this version; use `allowed_payment_method_types`.",
            code="payment_method_types_no_longer_supported",
            param="payment_method_types",
        )
