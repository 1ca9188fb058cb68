"""Webhook endpoints: who wants to be told of which events."""

import fnmatch
from dataclasses import dataclass
from urllib.parse import urlsplit

import orjson

from deploy.sandbox import errors, event_types, listings
from deploy.sandbox.forms import Raw
from deploy.sandbox.parameters import (
    Arguments,
    Array,
    Boolean,
    Fields,
    Metadata,
    Parameter,
    Text,
    Unsupported,
    clearable,
    merged,
)
from deploy.sandbox.settings import API_VERSION, VERSION
from deploy.sandbox.state import State
from deploy.sandbox.store import Object


@dataclass(frozen=True, slots=True)
class EventType(Parameter):
    """A type of events, or `*` for all."""

    def parse(self, raw: Raw, path: str) -> str:
        """The type."""
        if raw != "*" and raw not in event_types.TYPES:
            raise errors.InvalidParameter(f"Invalid {path}: must be * or a type of events that exists.", param=path)
        return str(raw)


_EDITABLE: dict[str, Parameter] = {
    "url": Text(limit=2048, required=True),
    "enabled_events": Array(EventType(), limit=500, required=True),
    "description": Text(limit=5000),
    "metadata": Metadata(),
}

CREATE = Fields({**_EDITABLE, "api_version": Text(), "connect": Unsupported()})
UPDATE = Fields({**clearable(_EDITABLE), "disabled": Boolean()})
RETRIEVE = Fields({})
DELETE = Fields({})
LIST = listings.parameters()


def create(state: State, arguments: Arguments) -> Object:
    """A new endpoint; only this answer tells its signing secret."""
    secret = state.identifier("whsec", 32)
    return {**_add(state, arguments, identifier=state.identifier("we"), secret=secret), "secret": secret}


def _add(state: State, arguments: Arguments, *, identifier: str, secret: str) -> Object:
    _check_url(arguments["url"])
    endpoint = {
        "id": identifier,
        "object": "webhook_endpoint",
        "api_version": arguments.get("api_version"),
        "application": None,
        "created": state.clock.now(),
        "description": arguments.get("description"),
        "enabled_events": arguments["enabled_events"],
        "livemode": False,
        "metadata": merged({}, arguments.get("metadata", {})),
        "status": "enabled",
        "url": arguments["url"],
    }
    if not VERSION.fullmatch(endpoint["api_version"] or API_VERSION):
        raise errors.InvalidParameter(f"Invalid Stripe API version: {endpoint['api_version']}", param="api_version")
    state.store.put(endpoint)
    state.store.put({"id": _secret_id(endpoint["id"]), "object": "webhook_secret", "secret": secret})
    return endpoint


def configure(state: State) -> None:
    """Store the endpoint that the settings name, under one fixed id: a restart may move it to another address."""
    settings = state.settings
    if settings.webhook_url is not None:
        arguments: Arguments = {"url": settings.webhook_url, "enabled_events": list(settings.webhook_events)}
        _add(state, arguments, identifier="we_configured", secret=settings.webhook_secret)


def retrieve(state: State, arguments: Arguments) -> Object:
    """One endpoint, without its secret."""
    return state.get("webhook_endpoint", arguments["id"])


def update(state: State, arguments: Arguments) -> Object:
    """Change the address, the wanted events, or switch it off."""
    endpoint = state.get("webhook_endpoint", arguments.pop("id"))
    if "disabled" in arguments:
        endpoint["status"] = "disabled" if arguments.pop("disabled") else "enabled"
    if "metadata" in arguments:
        endpoint["metadata"] = merged(endpoint["metadata"], arguments.pop("metadata"))
    endpoint.update(arguments)
    _check_url(endpoint["url"])
    state.store.put(endpoint)
    return endpoint


def delete(state: State, arguments: Arguments) -> Object:
    """Forget an endpoint; what was on its way to it is not delivered."""
    endpoint = state.get("webhook_endpoint", arguments["id"])
    state.store.delete(endpoint["id"])
    state.store.delete(_secret_id(endpoint["id"]))
    return {"id": endpoint["id"], "object": "webhook_endpoint", "deleted": True}


def list_(state: State, arguments: Arguments) -> Object:
    """Endpoints, newest first."""
    return listings.page(state, "webhook_endpoint", "/v1/webhook_endpoints", arguments)


def interested(state: State, kind: str) -> list[Object]:
    """The enabled endpoints that want events of this kind."""
    return [
        endpoint
        for endpoint in state.store.select("webhook_endpoint")
        if endpoint["status"] == "enabled" and matches(kind, endpoint["enabled_events"])
    ]


def matches(kind: str, patterns: list[str]) -> bool:
    """Whether one of the patterns (`*`, `charge.*`, `charge.failed`) covers this kind of event."""
    return any(pattern in ("*", kind) or fnmatch.fnmatchcase(kind, pattern) for pattern in patterns)


def shaped(endpoint: Object, event: bytes) -> bytes:
    """An event's JSON as this endpoint gets it: under the version that the endpoint names, in the shapes of the one."""
    if endpoint["api_version"] is None:
        return event
    return orjson.dumps({**orjson.loads(event), "api_version": endpoint["api_version"]})


def secret(state: State, endpoint: str) -> str:
    """What the endpoint's events are signed with."""
    return str(state.get("webhook_secret", _secret_id(endpoint))["secret"])


def _secret_id(endpoint: str) -> str:
    return f"{endpoint}_secret"


def _check_url(url: str | None) -> None:
    try:
        parts = urlsplit(url or "")
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        message = "Invalid URL: it must have a scheme (http or https) and a host."
        raise errors.ApiError(message, code="url_invalid", param="url")
