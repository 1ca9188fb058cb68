"""The page where a payer passes or fails 3-D Secure, for browsers and scripts alike."""

import html
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from deploy.sandbox import challenges, confirmations, currencies, errors, setup_intents
from deploy.sandbox.endpoints import base_url
from deploy.sandbox.engine import Engine
from deploy.sandbox.state import Call, State
from deploy.sandbox.store import Object


def routes(engine: Engine) -> list[Route]:
    """The page and its two buttons."""

    async def show(request: Request) -> Response:
        challenge = engine.state.get("challenge", request.path_params["id"])
        return HTMLResponse(_page(engine.state, challenge))

    async def answer(request: Request) -> Response:
        approved = request.url.path.endswith("/approve")
        identifier = request.path_params["id"]
        call = Call(base_url=base_url(request))
        challenge, intent = engine.atomically(call, lambda: decide(engine.state, identifier, approved=approved))
        if challenge["return_url"] is None:
            return HTMLResponse(_page(engine.state, challenge))
        return RedirectResponse(_return_url(challenge["return_url"], intent, approved=approved), status_code=303)

    path = "/_sandbox/challenges/{id}"
    return [
        Route(path, show, methods=["GET"]),
        Route(path + "/approve", answer, methods=["POST"]),
        Route(path + "/refuse", answer, methods=["POST"]),
    ]


def decide(state: State, identifier: str, *, approved: bool) -> tuple[Object, Object]:
    """Apply the payer's answer; returns the challenge and its intent afterwards. A second answer is refused."""
    challenge = state.get("challenge", identifier)
    if challenge["status"] != "open":
        raise errors.ApiError(f"This authentication is already {challenge['status']}.")
    challenges.close(state, challenge, "approved" if approved else "refused")
    intent = state.store.get(challenge["intent"])
    if intent is None:
        raise errors.Missing("intent", challenge["intent"])
    method = state.get("payment_method", challenge["payment_method"])
    if intent["object"] == "setup_intent":
        (setup_intents.finish if approved else setup_intents.fail_authentication)(state, intent, method)
    elif not approved:
        confirmations.fail_authentication(state, intent, method)
    elif intent["confirmation_method"] == "manual":
        intent.update(status="requires_confirmation", next_action=None)
        state.store.put(intent)
    else:
        challenges.close(state, challenge, "used")
        confirmations.pay(state, intent, method, challenged=True)
    return challenge, state.store.get(intent["id"]) or intent


def _return_url(url: str, intent: Object, *, approved: bool) -> str:
    parts = urlsplit(url)
    query = [
        *parse_qsl(parts.query, keep_blank_values=True),
        (intent["object"], intent["id"]),
        (f"{intent['object']}_client_secret", intent["client_secret"]),
        ("redirect_status", "succeeded" if approved else "failed"),
    ]
    return urlunsplit(parts._replace(query=urlencode(query)))


def _page(state: State, challenge: Object) -> str:
    intent = state.store.get(challenge["intent"]) or {}
    amount = currencies.written(intent["amount"], intent["currency"]) if "amount" in intent else "Save a card"
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>3-D Secure test page</title>
<body style="font: 1rem sans-serif; max-width: 30rem; margin: 3rem auto">
<h1>3-D Secure test page</h1>
<p>{html.escape(challenge["intent"])}: {html.escape(amount)}</p>
<p>Status: {html.escape(challenge["status"])}</p>
{_BUTTONS.format(id=html.escape(challenge["id"])) if challenge["status"] == "open" else ""}
</body></html>
"""


_BUTTONS = """<form method="post" action="/_sandbox/challenges/{id}/approve"><button>Approve</button></form>
<form method="post" action="/_sandbox/challenges/{id}/refuse"><button>Refuse</button></form>"""
