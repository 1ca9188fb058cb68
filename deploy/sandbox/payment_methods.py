"""PaymentMethods: made from a test number or a ready-made token, kept for a customer or used once."""

import datetime
from typing import Any, Final

from deploy.sandbox import errors, events, instruments, listings
from deploy.sandbox.parameters import (
    Arguments,
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

ADDRESS = Fields({name: Text(clearable=True) for name in ("city", "country", "line1", "line2", "postal_code", "state")})
SHIPPING = Fields(
    {
        "address": Fields(ADDRESS.members, required=True),
        "name": Text(required=True),
        "carrier": Text(),
        "phone": Text(),
        "tracking_number": Text(),
    }
)
BILLING = Fields(
    {
        "address": Fields(ADDRESS.members, clearable=True),
        "email": Text(clearable=True),
        "name": Text(clearable=True),
        "phone": Text(clearable=True),
        "tax_id": Text(),
    }
)
_CARD = Fields(
    {
        "number": Text(),
        "exp_month": Integer(),
        "exp_year": Integer(),
        "cvc": Text(limit=4),
        "token": Text(),
        "networks": Unsupported(),
    }
)
_BANK = Fields(
    {
        "account_number": Text(required=True),
        "routing_number": Text(required=True),
        "account_holder_type": Choice(("company", "individual")),
        "account_type": Choice(("checking", "savings")),
        "financial_connections_account": Unsupported(),
    }
)
_LONGEST_YEARS: Final = 50
TYPES = ("card", "us_bank_account")
DATA: dict[str, Parameter] = {
    "type": Choice(TYPES, required=True),
    "card": _CARD,
    "us_bank_account": _BANK,
    "billing_details": BILLING,
    "metadata": Metadata(),
    "allow_redisplay": Choice(("always", "limited", "unspecified")),
}

CREATE = Fields({**DATA, "customer": Unsupported(), "payment_method": Unsupported(), "radar_options": Unsupported()})
RETRIEVE = Fields({})
UPDATE = Fields(
    {
        "billing_details": BILLING,
        "metadata": Metadata(),
        "allow_redisplay": DATA["allow_redisplay"],
        "card": Fields(clearable({name: _CARD.members[name] for name in ("exp_month", "exp_year")})),
    }
)
ATTACH = Fields({"customer": Text(required=True), "customer_account": Unsupported()})
DETACH = Fields({})
LIST = listings.parameters(
    customer=Text(), type=Choice(TYPES), allow_redisplay=DATA["allow_redisplay"], customer_account=Unsupported()
)


def create(state: State, arguments: Arguments) -> Object:
    """A PaymentMethod from a test number; a number that no test card has is refused as Stripe's test mode does."""
    kind = arguments["type"]
    details = arguments.get(kind)
    if details is None:
        raise errors.InvalidParameter(f"Missing required param: {kind}.", code="parameter_missing", param=kind)
    instrument = _card(state, details) if kind == "card" else _bank_account(details)
    method = _render(state, instrument, details)
    method["billing_details"] = _billing(arguments.get("billing_details", {}))
    method["metadata"] = merged({}, arguments.get("metadata", {}))
    method["allow_redisplay"] = arguments.get("allow_redisplay", "unspecified")
    state.store.put(method)
    return method


def retrieve(state: State, arguments: Arguments) -> Object:
    """One PaymentMethod, or a new one for a ready-made token."""
    method = resolve(state, arguments["id"], param="payment_method")
    if arguments.get("customer", method["customer"]) != method["customer"]:
        raise errors.Missing("payment_method", method["id"], param="payment_method")
    return method


def resolve(state: State, identifier: str, *, param: str = "payment_method") -> Object:
    """The PaymentMethod of this id; a token such as `pm_card_visa` makes a new one each time."""
    instrument = instruments.BY_TOKEN.get(instruments.ALIASES.get(identifier, identifier))
    if instrument is None:
        return state.get("payment_method", identifier, param=param)
    method = _render(state, instrument, {})
    state.store.put(method)
    return method


def usable(state: State, identifier: str) -> Object:
    """The PaymentMethod of this id, unless it was detached: then it can be neither kept nor charged again."""
    method = resolve(state, identifier)
    if state.store.get(_detached_id(method["id"])) is not None:
        raise errors.ApiError(
            "This PaymentMethod was detached from a Customer, and may not be used again. Attach a new PaymentMethod.",
            param="payment_method",
        )
    return method


def update(state: State, arguments: Arguments) -> Object:
    """Change billing details, expiry or metadata of an attached PaymentMethod."""
    method = state.get("payment_method", arguments["id"])
    if method["customer"] is None:
        raise errors.ApiError("You must attach this PaymentMethod to a customer before you update it.")
    before = {**method, "card": dict(method.get("card") or {})}
    if "billing_details" in arguments:
        method["billing_details"] = {**method["billing_details"], **_billing(arguments["billing_details"])}
    if "metadata" in arguments:
        method["metadata"] = merged(method["metadata"], arguments["metadata"])
    if "allow_redisplay" in arguments:
        method["allow_redisplay"] = arguments["allow_redisplay"]
    if method["type"] == "card":
        method["card"].update(arguments.get("card", {}))
        _check_expiry(state, method["card"])
    state.store.put(method)
    events.record(state, "payment_method.updated", method, before=before)
    return method


def attach(state: State, arguments: Arguments) -> Object:
    """Keep a PaymentMethod for a customer; a card that is always declined is declined here too."""
    method = usable(state, arguments["id"])
    customer = state.get("customer", arguments["customer"], param="customer")
    if method["customer"] not in (None, customer["id"]):
        raise errors.ApiError("The payment method you provided has already been attached to a customer.")
    instrument = instruments.of(method)
    if instrument.decline is not None and not instrument.saves and instrument.type == "card":
        raise Declined(instrument.decline)
    return keep(state, method, customer["id"])


def keep(state: State, method: Object, customer: str) -> Object:
    """Attach without asking the issuer; already attached is no change."""
    if method["customer"] is None:
        method["customer"] = customer
        state.store.put(method)
        events.record(state, "payment_method.attached", method)
    return method


def detach(state: State, arguments: Arguments) -> Object:
    """Take a PaymentMethod from its customer, for good."""
    method = state.get("payment_method", arguments["id"])
    if method["customer"] is None:
        raise errors.ApiError(
            "The payment method you provided is not attached to a customer so detachment is impossible."
        )
    before = dict(method)
    method["customer"] = None
    state.store.put(method)
    state.store.put({"id": _detached_id(method["id"]), "object": "detached_payment_method"})
    events.record(state, "payment_method.detached", method, before=before)
    return method


def list_(state: State, arguments: Arguments) -> Object:
    """PaymentMethods, newest first; Stripe shows those of one customer only."""
    return listings.page(state, "payment_method", "/v1/payment_methods", arguments)


def _detached_id(method: str) -> str:
    return f"{method}_detached"


def _card(state: State, details: Arguments) -> instruments.Instrument:
    if "token" in details:
        instrument = instruments.BY_TOKEN.get(details["token"].replace("tok_", "pm_card_", 1))
        if instrument is None:
            raise errors.Missing("token", details["token"], param="card[token]")
        return instrument
    for name in ("number", "exp_month", "exp_year"):
        if name not in details:
            param = f"card[{name}]"
            raise errors.InvalidParameter(f"Missing required param: {param}.", code="parameter_missing", param=param)
    _check_expiry(state, details)
    number = details["number"].replace(" ", "").replace("-", "")
    instrument = instruments.BY_NUMBER.get(("card", number))
    if instrument is not None:
        return instrument
    refusal = instruments.UNKNOWN_CARD if _plausible(number) else instruments.WRONG_NUMBER
    raise Declined(refusal, param="card[number]" if refusal is instruments.WRONG_NUMBER else None)


def _check_expiry(state: State, card: Arguments) -> None:
    """Refuse a month that is none, and a card that has expired or is to expire in half a century or later."""
    month, year = card["exp_month"], _full_year(card["exp_year"])
    now = datetime.datetime.fromtimestamp(state.clock.now(), datetime.UTC)
    if not now.year <= year <= now.year + _LONGEST_YEARS:
        raise Declined(instruments.WRONG_YEAR, param="exp_year")
    if not 1 <= month <= 12 or (year, month) < (now.year, now.month):
        raise Declined(instruments.WRONG_MONTH, param="exp_month")


def _full_year(year: int) -> int:
    return year + 2000 if 0 <= year < 100 else year


class Declined(errors.ApiError):
    """A card was refused before it was charged, when it was entered or saved; nothing remains of the attempt."""

    status = 402
    type = "card_error"

    def __init__(self, decline: instruments.Decline, *, param: str | None = None) -> None:
        extra = {} if decline.reason is None else {"decline_code": decline.reason}
        super().__init__(decline.message, code=decline.code, param=param, **extra)


def _plausible(number: str) -> bool:
    """Whether a number has a card's length and check digit (ISO/IEC 7812)."""
    if not number.isdecimal() or not 12 <= len(number) <= 19:
        return False
    doubled = (int(digit) * (2 if place % 2 else 1) for place, digit in enumerate(reversed(number)))
    return sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0


def _bank_account(details: Arguments) -> instruments.Instrument:
    instrument = instruments.BY_NUMBER.get(("us_bank_account", details["account_number"]))
    if instrument is None:
        raise errors.ApiError("You must use a test bank account number.", param="us_bank_account[account_number]")
    return instrument


def _billing(given: Arguments) -> Object:
    empty = dict.fromkeys(ADDRESS.members)
    billing: Object = {"address": empty, "email": None, "name": None, "phone": None, "tax_id": None, **given}
    billing["address"] = {**empty, **(billing["address"] or {})}
    return billing


def _render(state: State, instrument: instruments.Instrument, details: Arguments) -> Object:
    shape = _card_shape if instrument.type == "card" else _bank_shape
    return {
        "id": state.identifier("pm"),
        "object": "payment_method",
        "allow_redisplay": "unspecified",
        "billing_details": _billing({}),
        instrument.type: shape(instrument, details),
        "created": state.clock.now(),
        "customer": None,
        "customer_account": None,
        "livemode": False,
        "metadata": {},
        "type": instrument.type,
    }


def _card_shape(card: instruments.Instrument, details: Arguments) -> dict[str, Any]:
    check = "fail" if card.decline is instruments.WRONG_CVC else "pass" if details.get("cvc") else "unchecked"
    return {
        "brand": card.brand,
        "checks": {"address_line1_check": None, "address_postal_code_check": None, "cvc_check": check},
        "country": card.country,
        "display_brand": card.brand,
        "exp_month": details.get("exp_month", 12),
        "exp_year": _full_year(details.get("exp_year", 2034)),
        "fingerprint": card.fingerprint,
        "funding": card.funding,
        "generated_from": None,
        "last4": card.last4,
        "networks": {"available": [card.brand], "preferred": None},
        "regulated_status": "unregulated",
        "three_d_secure_usage": {"supported": card.challenge is not instruments.Challenge.UNSUPPORTED},
        "wallet": None,
    }


def _bank_shape(bank: instruments.Instrument, details: Arguments) -> dict[str, Any]:
    return {
        "account_holder_type": details.get("account_holder_type", "individual"),
        "account_type": details.get("account_type", "checking"),
        "bank_name": "STRIPE TEST BANK",
        "financial_connections_account": None,
        "fingerprint": bank.fingerprint,
        "last4": bank.last4,
        "networks": {"preferred": "ach", "supported": ["ach"]},
        "routing_number": details.get("routing_number", "110000000"),
        "status_details": None,
    }
