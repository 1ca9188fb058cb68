"""3-D Secure challenges: when a payer must authenticate, and the open question that waits for them."""

from typing import Any

from deploy.sandbox.instruments import Challenge, Instrument
from deploy.sandbox.state import State
from deploy.sandbox.store import Object


def needed(state: State, intent: Object, method: Object, instrument: Instrument, *, off_session: bool) -> bool:
    """Whether the issuer (or the merchant's request) wants the payer to authenticate."""
    options = (intent["payment_method_options"] or {}).get("card") or {}
    wish = options.get("request_three_d_secure")
    match instrument.challenge:
        case Challenge.UNSUPPORTED:
            return False
        case Challenge.ALWAYS:
            return True
        case Challenge.SAVED:
            return not off_session
        case Challenge.ON_SESSION:
            return not (off_session and _set_up(state, method))
        case Challenge.OPTIONAL:
            return wish in ("any", "challenge") and instrument.type == "card" and not off_session


def begin(state: State, intent: Object, method: Object, *, return_url: str | None) -> None:
    """Put the question to the payer: the intent waits with a `next_action` that leads to the sandbox's page."""
    challenge = {
        "id": state.identifier("challenge"),
        "object": "challenge",
        "created": state.clock.now(),
        "intent": intent["id"],
        "payment_method": method["id"],
        "return_url": return_url,
        "status": "open",
    }
    state.store.put(challenge)
    url = f"{state.settings.public_url or state.call.base_url}/_sandbox/challenges/{challenge['id']}"
    intent["status"] = "requires_action"
    intent["next_action"] = _next_action(url, return_url)


def open_for(state: State, intent: str) -> Object | None:
    """The question that an intent waits for."""
    waiting = state.store.select("challenge", intent=intent, status="open")
    return waiting[-1] if waiting else None


def close(state: State, challenge: Object, status: str) -> None:
    """Note the payer's answer: `approved`, `refused`, or `withdrawn` when the question became pointless."""
    challenge["status"] = status
    state.store.put(challenge)


def withdraw(state: State, intent: Object) -> None:
    """Take an open question back, because the intent moved on without it."""
    challenge = None if intent["next_action"] is None else open_for(state, intent["id"])
    if challenge is not None:
        close(state, challenge, "withdrawn")
    intent["next_action"] = None


def use_approval(state: State, intent: Object, method: Object) -> bool:
    """Whether the payer has authenticated this very attempt before (manual confirmation); counts once."""
    approved = state.store.select("challenge", intent=intent["id"], payment_method=method["id"], status="approved")
    for challenge in approved:
        close(state, challenge, "used")
    return bool(approved)


def _next_action(url: str, return_url: str | None) -> dict[str, Any]:
    if return_url is None:
        details = {"type": "three_d_secure_redirect", "stripe_js": url}
        return {"type": "use_stripe_sdk", "use_stripe_sdk": details}
    return {"type": "redirect_to_url", "redirect_to_url": {"return_url": return_url, "url": url}}


def _set_up(state: State, method: Object) -> bool:
    """Whether the card was saved for off-session use, by a SetupIntent or by an earlier payment."""
    wanted = {"payment_method": method["id"], "status": "succeeded"}
    return bool(
        state.store.select("setup_intent", **wanted)
        or state.store.select("payment_intent", **wanted, setup_future_usage="off_session")
    )
