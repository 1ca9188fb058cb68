"""The routes of the contract, as one route of the application that finds its endpoint in a tree."""

import contextlib
import re
from collections.abc import Iterable, Sequence
from typing import Final

from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send

from gateway import bindings, endpoints, exchanges, names, problems, suggestions, templates
from kobklein import errors

_SCOPE_KEY: Final = "kobklein.match"
_VERB: Final = re.compile(r".+:[A-Za-z][A-Za-z0-9_-]*")
"""A segment that ends in what may be a custom verb."""


class ContractRoutes(BaseRoute):
    """Every route that the contract declares; one look-up instead of one regular expression each."""

    def __init__(
        self, served: Iterable[endpoints.Endpoint], *, others: Iterable[str] = (), suggests: bool = True
    ) -> None:
        """Serve these; `others` are paths beside them that may be meant by a path that is unknown.

        Whether a path is suggested at all follows whether the documentation is shown: both tell which paths there are.
        """
        self._suggests = suggests
        self._tree: templates.Tree[endpoints.Endpoint] = templates.Tree()
        served = list(served)
        for endpoint in served:
            self._tree.add(endpoint.binding.http_method, endpoint.binding.template, endpoint)
        self._others = frozenset(others)
        known = [*(endpoint.binding.template for endpoint in served), *map(templates.parse, self._others)]
        self._suggestions = suggestions.Suggestions(known, exists=self._exists)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Return a full match for every path of the contract, whatever the method."""
        if scope["type"] != "http":
            return Match.NONE, {}
        found = self._find(exchanges.of(scope).path)
        return (Match.NONE, {}) if found is None else (Match.FULL, {_SCOPE_KEY: found})

    def finds(self, scope: Scope, kind: type[endpoints.Endpoint]) -> bool:
        """Whether an endpoint of this kind is to serve a request."""
        with contextlib.suppress(errors.Error, problems.Refused):  # Raised again where the request is served.
            found = self._find(exchanges.of(scope).path)
            return found is not None and isinstance(_endpoint(found[0], scope["method"]), kind)
        return False

    def _find(self, path: str) -> tuple[dict[str, endpoints.Endpoint], list[str]] | None:
        found = self._tree.find(path)
        return None if found is None or _ends_in_unknown_verb(*found) else found

    def _exists(self, path: str) -> bool:
        return path in self._others or self._find(path) is not None

    async def unknown(self, scope: Scope, _receive: Receive, _send: Send) -> None:
        """Refuse a path that no route has, and name the one that may have been meant."""
        path = exchanges.of(scope).path
        meant = self._suggestions.of(path) if self._suggests else None
        question = f"; did you mean {meant}?" if meant is not None else ""
        raise problems.Refused(404, f"no route {names.printable(path)}{question}")

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


def _ends_in_unknown_verb(targets: dict[str, endpoints.Endpoint], segments: list[str]) -> bool:
    """Whether a path ends in a verb that its resource does not have: after an id that cannot hold a colon itself."""
    if not segments or not _VERB.fullmatch(segments[-1]):
        return False
    return not any(endpoint.binding.template.verb or endpoint.takes_path(segments) for endpoint in targets.values())


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
