"""Every operation of the contract against every kind of caller, over REST and over gRPC behind the gateway's back.

The cases come from the descriptors: an RPC that is added tomorrow is in them.
"""

import uuid
from collections.abc import Iterator
from typing import Any

import grpc
import httpx
import pytest
from google.api import annotations_pb2
from google.protobuf import descriptor, field_mask_pb2, message, message_factory

from deploy.local import stack as local
from kobklein import contract, enums, validation
from kobklein.payments.v1 import payments_pb2, provider_events_pb2
from kobklein.wallets.v1 import (
    accounts_pb2,
    conversions_pb2,
    holds_pb2,
    ledger_pb2,
    statements_pb2,
    transfers_pb2,
    wallets_pb2,
)
from tests.e2e import conftest, system

SERVICES = {
    payments_pb2: "kobklein.payments.v1.PaymentsService",
    provider_events_pb2: "kobklein.payments.v1.ProviderEventsService",
    wallets_pb2: "kobklein.wallets.v1.WalletsService",
    statements_pb2: "kobklein.wallets.v1.StatementsService",
    ledger_pb2: "kobklein.wallets.v1.LedgerService",
    holds_pb2: "kobklein.wallets.v1.HoldsService",
    accounts_pb2: "kobklein.wallets.v1.AccountsService",
    transfers_pb2: "kobklein.wallets.v1.TransfersService",
    conversions_pb2: "kobklein.wallets.v1.ConversionsService",
}
METHODS = contract.methods(SERVICES.values())
ROUTED = {
    path: method
    for path, method in METHODS.items()
    if annotations_pb2.http in method.descriptor.GetOptions().Extensions
}
CALLERS = ["nobody", "suspended", "stranger", *sorted(contract.ROLES)]
OWNER = "user-owner"
LONG_AGO = "2020-01-01T00:00:00Z"
BODIES = {
    "CreateTransfer": {"toNewUser": True},
    "CreateHold": {"toNewUser": True},
    "CreateQuote": {"sell": {"amount": "10.00", "currency": "HTG"}, "buy": {"currency": "USD"}},
    "SetRate": {"rate": "131.25"},
    "UpdateAccount": {"account": {"metadata": {"sample": "changed"}}},
    "SetCurrencyLimits": {"limits": {}},
    "PostTransfers": {
        "transfers": [
            {
                "id": str(uuid.uuid4()),
                "debitAccount": "provider/test",
                "creditAccount": "fees",
                "amount": "0.01",
                "currency": "HTG",
                "type": "DEPOSIT",
            }
        ]
    },
}
"""What a request needs that is more than single fields with examples."""
PATHS = {
    "{user_id}": OWNER,
    "{rate.sell_currency}/{rate.buy_currency}": "USD/HTG",
    "{sell_currency}/{buy_currency}": "USD/HTG",
    "{limits.currency}": "BIF",
    "{fee.currency}/{fee.type}": "HTG/CONVERSION",
    "{currency}/{type}": "HTG/CONVERSION",
}
CONFLICT = 409
"""What who may open a wallet is told of one that is open already."""
REFUSED = {grpc.StatusCode.UNAUTHENTICATED: 401, grpc.StatusCode.PERMISSION_DENIED: 403, grpc.StatusCode.NOT_FOUND: 404}


def expected(method: contract.Method, caller: str) -> grpc.StatusCode | None:
    """Return how the contract refuses a caller that asks for the owner's things; None where it does not refuse."""
    if method.anonymous:
        return None
    if caller in ("nobody", "suspended"):
        return grpc.StatusCode.UNAUTHENTICATED
    role = "user" if caller == "stranger" else caller
    if role in method.any:
        return None
    if role not in method.own:
        return grpc.StatusCode.PERMISSION_DENIED
    return grpc.StatusCode.PERMISSION_DENIED if method.subject_path else grpc.StatusCode.NOT_FOUND


def token(client: system.Client, caller: str) -> str:
    if caller == "nobody":
        return ""
    if caller == "suspended":
        return client.token(conftest.SUSPENDED, "user", "admin", "service")
    return client.token(f"{caller}-1", "user" if caller == "stranger" else caller)


class Owned:
    """What the owner has: something for every kind of id in the contract."""

    def __init__(self, client: system.Client) -> None:
        self._client = client
        self._token = client.token(OWNER, "user")
        paid = client.pay(self._token, amount="10000.00", currency="HTG")
        payment = client.settled(self._token, paid.json()["id"])
        wallet = client.call("GET", f"/wallets/user/{OWNER}", token=self._token).json()["wallets"][0]
        path = f"/wallets/{wallet['id']}/transactions?paymentId={payment['id']}"
        transaction = client.call("GET", path, token=self._token).json()["transactions"][0]
        client.call(
            "PUT", "/rates/HTG/USD?reason=sample", token=client.token("admin-1", "admin"), json={"rate": "0.0076"}
        )
        self._ids = {"wallet": wallet["id"], "transaction": transaction["id"]}
        self._hold(100_000, creditAccount=f"user/{OWNER}", then=":post")

    def _hold(self, amount: int, *, then: str = "", **sides: str) -> str:
        """Make a hold of the platform's money, which opens the account that it is for; return its id."""
        admin, body = self._client.token("admin-1", "admin"), {"debitAccount": "provider/test", "currency": "HTG"}
        made = self._client.call(
            "POST", "/holds", token=admin, key=str(uuid.uuid4()), json={**body, **sides, "amount": amount}
        ).json()
        if then:
            self._client.call("POST", f"/holds/{made['id']}{then}", token=admin, key=str(uuid.uuid4()), json={})
        return str(made["id"])

    def _account(self) -> str:
        """Open an empty account and return its id."""
        address = f"sample/{uuid.uuid4()}"
        self._hold(1, creditAccount=address)
        admin = self._client.token("admin-1", "admin")
        (account,) = self._client.call("GET", f"/accounts?addressPrefix={address}", token=admin).json()["accounts"]
        return str(account["id"])

    def id_for(self, method: descriptor.MethodDescriptor) -> str:
        """Return the id of an object of the owner's that a method is about; what it may end is new each time."""
        if method.containing_service.name == "PaymentsService":
            body = {"amount": 1000, "method": "STRIPE"}
            made = self._client.call("POST", "/payments", token=self._token, key=str(uuid.uuid4()), json=body)
            return str(made.json()["id"])
        if method.containing_service.name == "HoldsService":
            return self._hold(1, creditAccount=f"user/{OWNER}")
        if "Account" in method.name:
            return self._account()
        if method.name in ("GetTransfer", "GetLedgerTransfer", "ReverseTransaction"):
            body = {"toUserId": "user-2", "amount": "0.01", "toNewUser": True}
            made = self._client.call("POST", "/transfers", token=self._token, key=str(uuid.uuid4()), json=body)
            return str(made.json()["id"])
        if method.containing_service.name == "ConversionsService":
            key = str(uuid.uuid4())
            quote = self._client.call("POST", "/quotes", token=self._token, key=key, json=BODIES["CreateQuote"])
            return str(quote.json()["id"])
        return str(
            self._ids[
                "transaction"
                if "Transaction" in method.input_type.name and method.name == "GetTransaction"
                else "wallet"
            ]
        )

    def prepare(self, method: descriptor.MethodDescriptor) -> None:
        """Make what a method needs to find, and is not the owner's."""
        if method.name == "DeleteFee":
            admin = self._client.token("admin-1", "admin")
            self._client.call("PUT", "/fees/HTG/CONVERSION?reason=sample", token=admin, json={"fixedAmount": "1.00"})
        if method.name == "DeleteRate":
            admin = self._client.token("admin-1", "admin")
            self._client.call("PUT", "/rates/USD/HTG?reason=sample", token=admin, json=BODIES["SetRate"])


@pytest.fixture(scope="module")
def owned(client: system.Client) -> Owned:
    return Owned(client)


def request_for(method: contract.Method, owned: Owned) -> message.Message:
    """Return a good request about the owner's things."""
    request = message_factory.GetMessageClass(method.descriptor.input_type)()
    fill(request, method, owned)
    if method.subject_path:
        method.set_subject(request, OWNER)
    return request


def fill(request: Any, method: contract.Method, owned: Owned) -> None:
    for field in request.DESCRIPTOR.fields:
        rules = validation.rules_of(field)
        if field.name == "update_mask":
            request.update_mask.CopyFrom(field_mask_pb2.FieldMask(paths=["description"]))
        elif field.name == "payment":
            request.payment.description = "changed"
        elif not rules.required or rules.output_only:
            continue
        elif validation.is_map(field):
            fill_map(request, field, method, owned)
        elif is_time(field):
            getattr(request, field.name).FromJsonString(LONG_AGO)
        elif field.name == "account":
            request.account.metadata.update({"sample": "changed"})
        elif field.name == "limits":
            request.limits.currency = "BIF"
        elif field.message_type is not None:
            inner = getattr(request, field.name)
            fill(inner.add() if field.is_repeated else inner, method, owned)
        else:
            setattr(request, field.name, value_of(field, method, owned))


def is_time(field: descriptor.FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.full_name == "google.protobuf.Timestamp"


def query_of(method: contract.Method) -> str:
    """Return the query that a GET needs: every time that is required."""
    fields = method.descriptor.input_type.fields
    times = [
        f"{field.json_name}={LONG_AGO}" for field in fields if is_time(field) and validation.rules_of(field).required
    ]
    return "?" + "&".join(times) if times else ""


def fill_map(request: Any, field: descriptor.FieldDescriptor, method: contract.Method, owned: Owned) -> None:
    _, value = validation.map_entry(field)
    entries = getattr(request, field.name)
    if value.message_type is not None:
        fill(entries["key"], method, owned)
    else:
        entries["key"] = value_of(value, method, owned)


def value_of(field: descriptor.FieldDescriptor, method: contract.Method, owned: Owned) -> Any:
    rules = validation.rules_of(field)
    if field.enum_type is not None:
        return enums.numbers(field.enum_type)[rules.allowed[0]] if rules.allowed else field.enum_type.values[1].number
    if field.cpp_type == field.CPPTYPE_INT64:
        return 1
    if field.name == "id":
        return owned.id_for(method.descriptor)
    samples = {
        "debit_account": "provider/test",
        "credit_account": "fees",
        "address": "fees",
        "currency": "HTG",
        "provider": "stripe",
    }
    return rules.example or samples.get(field.name) or OWNER


def grpc_status(stack: local.Stack, method: contract.Method, request: message.Message, bearer: str) -> grpc.StatusCode:
    target = stack.payments_target if "payments" in method.path else stack.wallets_target
    metadata = [("idempotency-key", str(uuid.uuid4())), *([("authorization", f"Bearer {bearer}")] if bearer else [])]
    answer_type = message_factory.GetMessageClass(method.descriptor.output_type)
    with grpc.insecure_channel(target) as channel:
        arguments = {
            "request_serializer": type(request).SerializeToString,
            "response_deserializer": answer_type.FromString,
        }
        try:
            if method.descriptor.server_streaming:
                next(channel.unary_stream(method.path, **arguments)(request, metadata=metadata, timeout=10))
            else:
                channel.unary_unary(method.path, **arguments)(request, metadata=metadata, timeout=10)
        except grpc.RpcError as error:
            return error.code()
    return grpc.StatusCode.OK


def routes(method: contract.Method) -> Iterator[tuple[str, str, str]]:
    """Yield the verb, the path and the body field of every route of a method."""
    rule = method.descriptor.GetOptions().Extensions[annotations_pb2.http]
    for each in (rule, *rule.additional_bindings):
        verb = each.WhichOneof("pattern")
        yield verb.upper(), getattr(each, verb), each.body


def rest_answer(
    client: system.Client, method: contract.Method, owned: Owned, route: tuple[str, str, str], bearer: str
) -> httpx.Response:
    verb, path, body_field = route
    owned.prepare(method.descriptor)
    for variable, value in PATHS.items():
        path = path.replace(variable, value)
    path = path.replace("{id}", owned.id_for(method.descriptor)) if "{id}" in path else path
    arguments: dict[str, Any] = {"key": str(uuid.uuid4())} if verb != "GET" else {}
    if body_field == "payment":
        arguments["json"] = {"description": "changed"}
    elif body_field:
        arguments["json"] = body_of(method)
        if body_field != "*":
            arguments["json"].pop("reason", None)
    elif "{user_id}" not in route[1] and method.subject_path:
        path += f"?userId={OWNER}"
    elif verb == "GET":
        path += query_of(method)
    if body_field != "*" and "reason" in method.descriptor.input_type.fields_by_name:
        path += "?reason=sample"
    with client.http.stream(verb, path, headers=headers(bearer, arguments.pop("key", "")), **arguments) as answer:
        if not (method.descriptor.server_streaming and answer.is_success):  # A stream may go on for ever.
            answer.read()
        return answer


def headers(bearer: str, key: str) -> dict[str, str]:
    return ({"Authorization": f"Bearer {bearer}"} if bearer else {}) | ({"Idempotency-Key": key} if key else {})


def body_of(method: contract.Method) -> dict[str, Any]:
    body: dict[str, Any] = {"userId": OWNER} if method.subject_path else {}
    body |= BODIES.get(method.descriptor.name, {})
    for field in method.descriptor.input_type.fields:
        rules = validation.rules_of(field)
        if rules.example and field.name != "id" and field.message_type is None:
            body.setdefault(field.json_name, rules.example)
    return body


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("path", METHODS)
def test_grpc_refuses_whom_the_contract_refuses(path: str, caller: str, client: system.Client, owned: Owned) -> None:
    method = METHODS[path]
    status = grpc_status(client.stack, method, request_for(method, owned), token(client, caller))
    refusal = expected(method, caller)
    if refusal is not None:
        assert status == refusal
    else:
        assert status not in (
            grpc.StatusCode.UNAUTHENTICATED,
            grpc.StatusCode.PERMISSION_DENIED,
            grpc.StatusCode.INTERNAL,
        )


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("path", ROUTED)
def test_rest_refuses_whom_the_contract_refuses(path: str, caller: str, client: system.Client, owned: Owned) -> None:
    method = METHODS[path]
    service = caller == "service" and not method.anonymous  # Services call over gRPC, and no other way.
    refusal = grpc.StatusCode.PERMISSION_DENIED if service else expected(method, caller)
    for route in routes(method):
        answer = rest_answer(client, method, owned, route, token(client, caller))
        if refusal is not None:
            assert answer.status_code == REFUSED[refusal], route
        else:
            assert answer.is_success or answer.status_code == CONFLICT, (route, answer.status_code)


def test_a_strangers_object_cannot_be_told_from_one_that_does_not_exist(client: system.Client, owned: Owned) -> None:
    stranger = client.token("stranger-1", "user")
    for path, method in ROUTED.items():
        for verb, template, body in routes(method):
            if "{id}" not in template or method.own.isdisjoint({"user"}):
                continue
            problems = []
            for target in (owned.id_for(method.descriptor), str(uuid.uuid4())):
                arguments: dict[str, Any] = {"json": {"description": "x"} if body == "payment" else {}} if body else {}
                path_ = template.replace("{id}", target) + query_of(method)
                answer = client.call(verb, path_, token=stranger, key=str(uuid.uuid4()), **arguments)
                problem = answer.json()
                problems.append(
                    (
                        answer.status_code,
                        {
                            key: str(problem[key]).replace(target, "?")
                            for key in ("type", "title", "detail", "reason", "metadata")
                            if key in problem
                        },
                    )
                )
            assert problems[0] == problems[1], path
            assert problems[0][0] == 404, path


def test_only_internal_methods_have_no_route() -> None:
    assert {path.rpartition("/")[2] for path in METHODS.keys() - ROUTED.keys()} == {
        "ReceiveWebhook",
        "CreateAccount",
    }
