"""The story of `make demo`, told by public REST alone: money of a card reaches a wallet, once, and moves on."""

import uuid

import httpx

from deploy.local import checks, stack
from deploy.local.demo import cards, ledger, rest


def play(running: stack.Stack, report: checks.Report) -> None:
    """Play every scene; what does not hold is in the report. Raises ValueError without the sandbox's test cards."""
    if running.sandbox_url is None:
        raise ValueError("the demo plays with test cards; unset STRIPE_SECRET_KEY")
    with httpx.Client(timeout=30) as http:
        client = rest.Client(running.gateway_url, report, http)
        user, payee, admin = (
            _user(running),
            _user(running),
            rest.Person("admin-1", running.identity.token("admin-1", "admin")),
        )
        try:
            cards.Cards(client, running.sandbox_url, user=user, stranger=_user(running), admin=admin).play()
            ledger.Ledger(client, user=user, payee=payee, admin=admin).play()
        except (KeyError, ValueError, StopIteration, httpx.HTTPError) as error:
            # An answer that no scene can go on from.
            report.check("the story goes on", expected="an answer with what it needs", actual=repr(error))


def _user(running: stack.Stack) -> rest.Person:
    """Return somebody whom no earlier run has met."""
    name = f"user-{uuid.uuid4().hex[:8]}"
    return rest.Person(name, running.identity.token(name, "user"))
