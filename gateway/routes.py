"""The routes of the contract, as one route of the application that finds its endpoint in a tree."""

import contextlib
from collections.abc import Iterable, Sequence
from typing import Final

from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send

from gateway import bindings, endpoints, exchanges, problems, templates
from kobklein import errors

_SCOPE_KEY: Final = "kobklein.match"


class ContractRoutes(BaseRoute):
    """Every route that the contract declares; one look-up instead of one regular expression each."""

    def __init__(self, served: Iterable[endpoints.Endpoint]) -> None:
        self._tree: templates.Tree[endpoints.Endpoint] = templates.Tree()
        for endpoint in served:
            self._tree.add(endpoint.binding.http_method, endpoint.binding.template, endpoint)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Return a full match for every path of the contract, whatever the method."""
        if scope["type"] != "http":
            return Match.NONE, {}
        found = self._tree.find(exchanges.of(scope).path)
        return (Match.NONE, {}) if found is None else (Match.FULL, {_SCOPE_KEY: found})

    def finds(self, scope: Scope, kind: type[endpoints.Endpoint]) -> bool:
        """Whether an endpoint of this kind is to serve a request."""
        with contextlib.suppress(errors.Error, problems.Refused):  # Raised again where the request is served.
            found = self._tree.find(exchanges.of(scope).path)
            return found is not None and isinstance(_endpoint(found[0], scope["method"]), kind)
        return False

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the request with the endpoint of its method, or refuse the method."""
        targets, segments = scope[_SCOPE_KEY]
        exchange = exchanges.of(scope)
        exchange.go_through(receive, send)
        endpoint = _endpoint(targets, scope["method"])
        if endpoint is None:
            exchange.route = next(iter(targets.values())).binding.path
            raise _not_allowed(targets)
        exchange.route = endpoint.binding.path
        await endpoint(exchange, segments)


def _endpoint(targets: dict[str, endpoints.Endpoint], method: str) -> endpoints.Endpoint | None:
    found = targets.get(method) or targets.get(bindings.ANY_METHOD)
    if found is None and method == "HEAD":
        found = targets.get("GET")
        streams = found is not None and found.binding.method.descriptor.server_streaming
        return None if streams else found
    return found


def _not_allowed(targets: dict[str, endpoints.Endpoint]) -> problems.Refused:
    allowed = sorted(method for method in ("HEAD", *targets) if _endpoint(targets, method) is not None)
    return not_allowed(allowed)


def not_allowed(methods: Sequence[str]) -> problems.Refused:
    """Return the refusal of a method on a path that has others."""
    allowed = ", ".join(methods)
    return problems.Refused(405, f"this path takes {allowed}", (b"allow", allowed.encode()))
