"""Every operation of the API: its route, what it accepts, and what it does."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from deploy.sandbox import (
    authorizations,
    balance,
    charges,
    customers,
    disputes,
    events,
    payment_intents,
    payment_methods,
    refunds,
    setup_intents,
    webhook_endpoints,
)
from deploy.sandbox.parameters import Arguments, Array, Fields, Text
from deploy.sandbox.replies import Reply
from deploy.sandbox.state import State
from deploy.sandbox.store import Object

_EXPAND = Array(Text(), limit=20)


@dataclass(frozen=True, slots=True)
class Operation:
    """One method on one path. `execute` gets the parsed parameters and the path's own, under their names."""

    method: str
    path: str
    parameters: Fields
    execute: Callable[[State, Arguments], Object | Reply]


_GET, _POST, _DELETE = "GET", "POST", "DELETE"

_ROUTES: tuple[tuple[str, str, ModuleType, str], ...] = (
    (_POST, "/v1/payment_intents", payment_intents, "create"),
    (_GET, "/v1/payment_intents", payment_intents, "list_"),
    (_GET, "/v1/payment_intents/{id}", payment_intents, "retrieve"),
    (_POST, "/v1/payment_intents/{id}", payment_intents, "update"),
    (_POST, "/v1/payment_intents/{id}/confirm", payment_intents, "confirm"),
    (_POST, "/v1/payment_intents/{id}/capture", authorizations, "capture"),
    (_POST, "/v1/payment_intents/{id}/cancel", payment_intents, "cancel"),
    (_GET, "/v1/charges", charges, "list_"),
    (_GET, "/v1/charges/{id}", charges, "retrieve"),
    (_POST, "/v1/charges/{id}", charges, "update"),
    (_GET, "/v1/charges/{charge}/refunds", refunds, "list_"),
    (_POST, "/v1/refunds", refunds, "create"),
    (_GET, "/v1/refunds", refunds, "list_"),
    (_GET, "/v1/refunds/{id}", refunds, "retrieve"),
    (_POST, "/v1/refunds/{id}", refunds, "update"),
    (_POST, "/v1/refunds/{id}/cancel", refunds, "cancel"),
    (_GET, "/v1/disputes", disputes, "list_"),
    (_GET, "/v1/disputes/{id}", disputes, "retrieve"),
    (_POST, "/v1/disputes/{id}", disputes, "update"),
    (_POST, "/v1/disputes/{id}/close", disputes, "close"),
    (_POST, "/v1/customers", customers, "create"),
    (_GET, "/v1/customers", customers, "list_"),
    (_GET, "/v1/customers/{id}", customers, "retrieve"),
    (_POST, "/v1/customers/{id}", customers, "update"),
    (_DELETE, "/v1/customers/{id}", customers, "delete"),
    (_GET, "/v1/customers/{customer}/payment_methods", payment_methods, "list_"),
    (_GET, "/v1/customers/{customer}/payment_methods/{id}", payment_methods, "retrieve"),
    (_POST, "/v1/setup_intents", setup_intents, "create"),
    (_GET, "/v1/setup_intents", setup_intents, "list_"),
    (_GET, "/v1/setup_intents/{id}", setup_intents, "retrieve"),
    (_POST, "/v1/setup_intents/{id}", setup_intents, "update"),
    (_POST, "/v1/setup_intents/{id}/confirm", setup_intents, "confirm"),
    (_POST, "/v1/setup_intents/{id}/cancel", setup_intents, "cancel"),
    (_POST, "/v1/payment_methods", payment_methods, "create"),
    (_GET, "/v1/payment_methods", payment_methods, "list_"),
    (_GET, "/v1/payment_methods/{id}", payment_methods, "retrieve"),
    (_POST, "/v1/payment_methods/{id}", payment_methods, "update"),
    (_POST, "/v1/payment_methods/{id}/attach", payment_methods, "attach"),
    (_POST, "/v1/payment_methods/{id}/detach", payment_methods, "detach"),
    (_GET, "/v1/events", events, "list_"),
    (_GET, "/v1/events/{id}", events, "retrieve"),
    (_POST, "/v1/webhook_endpoints", webhook_endpoints, "create"),
    (_GET, "/v1/webhook_endpoints", webhook_endpoints, "list_"),
    (_GET, "/v1/webhook_endpoints/{id}", webhook_endpoints, "retrieve"),
    (_POST, "/v1/webhook_endpoints/{id}", webhook_endpoints, "update"),
    (_DELETE, "/v1/webhook_endpoints/{id}", webhook_endpoints, "delete"),
    (_GET, "/v1/balance", balance, "balance"),
    (_GET, "/v1/balance_transactions", balance, "list_"),
    (_GET, "/v1/balance_transactions/{id}", balance, "retrieve"),
)


def _operation(method: str, path: str, module: ModuleType, name: str) -> Operation:
    """A resource module declares what `create` accepts as `CREATE`, and so on."""
    accepted: Fields = getattr(module, name.strip("_").upper())
    members: Mapping[str, Any] = {
        key: parameter for key, parameter in accepted.members.items() if f"{{{key}}}" not in path
    }
    return Operation(method, path, Fields({**members, "expand": _EXPAND}), getattr(module, name))


OPERATIONS = tuple(_operation(*route) for route in _ROUTES)
