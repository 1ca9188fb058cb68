"""Input made to be costly: fragments that are repeated, and all that reads what clients send.

Shared by the property that the cost of input is linear, and by the benchmark that prints the worst of it.
"""

import contextlib
import dataclasses
import gc
import ipaddress
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

from deploy.sandbox import errors as sandbox_errors
from deploy.sandbox import forms
from gateway import addresses, bindings, exchanges, problems, requests, templates
from gateway.settings import Network
from kobklein import contract, errors, logs
from kobklein.payments.v1 import payments_pb2
from payments_service import servicer
from wallets_service import server

METHODS: Final = contract.methods((*servicer.SERVICES, *server.SERVICES))
_ROUTES: Final = {f"{one.http_method} {one.path}": one for one in bindings.of(METHODS.values())}
_PAYMENT_ID: Final = "0198c5b0-7d2a-7c3e-9f61-2b8f4d1c9a10"
_PROXIES: Final[tuple[Network, ...]] = (ipaddress.ip_network("10.0.0.0/8"),)


@dataclasses.dataclass(frozen=True)
class Reader:
    """Something that reads what clients send, and the fragments of which the worst for it is made."""

    read: Callable[[str], object]
    fragments: tuple[str, ...]
    start: str = ""
    end: str = ""

    def text(self, fragment: str, size: int) -> str:
        """Return a text of about `size` characters that repeats the fragment."""
        return f"{self.start}{fragment * (size // len(fragment))}{self.end}"


def seconds(reader: Reader, text: str, *, times: int) -> float:
    """Return the least processor time of several readings; the result is thrown away after each."""
    gc.disable()
    try:
        return min(_once(reader, text) for _ in range(times))
    finally:
        gc.enable()


def _once(reader: Reader, text: str) -> float:
    start = time.process_time()
    reader.read(text)
    return time.process_time() - start


def _request(route: str) -> Callable[..., None]:
    """Return a reader of requests of a route that makes the refusal into its answer as well."""
    read, segments = requests.RequestReader(_ROUTES[route]), route.replace("{id}", _PAYMENT_ID).split("/")[1:]

    def body(text: str = "", query: str = "") -> None:
        try:
            request = read(segments, query.encode(), text.encode(), {})
            _ROUTES[route].method.check(request)
        except errors.InvalidArgument as error:
            problems.of(error, read.client_view).body(instance="/", request_id="")

    return body


def _query(route: str) -> Callable[[str], None]:
    read = _request(route)
    return lambda text: read(query=text)


def _form(text: str) -> None:
    with contextlib.suppress(sandbox_errors.InvalidParameter):
        forms.decode(text.encode())


def _headers(text: str) -> None:
    """Read a head of which every header has this value, and twice as many again."""
    value = text.encode()
    names = (b"x-request-id", b"accept", b"content-type", b"x-forwarded-for", b"authorization", b"if-none-match")
    scope: dict[str, Any] = {
        "type": "http",
        "client": ("10.0.0.1", 1),
        "headers": [(name, value) for name in (*names, *names)],
    }
    exchanges.begin(scope, _nothing, _nothing, client=addresses.of(scope, _PROXIES))
    exchanges.media_type(dict(scope["headers"]), b"content-type")


async def _nothing(*_: object) -> Any:
    raise AssertionError("nothing is received or sent")


def _path() -> Callable[[str], object]:
    tree: templates.Tree[str] = templates.Tree()
    for route, binding in _ROUTES.items():
        tree.add(binding.http_method, binding.template, route)
    return lambda text: tree.find(f"/{text}")


def _message(text: str) -> None:
    request = payments_pb2.CreatePaymentRequest(description=text, reference=text, currency=text, user_id=text)
    request.metadata.update({"a": text, text: "a"})
    with contextlib.suppress(errors.InvalidArgument):
        METHODS["/kobklein.payments.v1.PaymentsService/CreatePayment"].check(request)


def _mask(text: str) -> None:
    request = payments_pb2.UpdatePaymentRequest(id=_PAYMENT_ID)
    request.update_mask.paths.extend(text.split(","))
    try:
        METHODS["/kobklein.payments.v1.PaymentsService/UpdatePayment"].check(request)
    except errors.InvalidArgument as error:
        errors.to_status(error)


_MARKS: Final = ('"', '\\"', "\\\\", '"\\u0041', "[", "]", "[]", "{", "}", ",", ":", "1", "a", " ", "\u00e9")
_VALUES: Final = ('"a",', '"\\"",', "1,", "[],", "{},", '{"a":1},', "null,", '[[[["a"]]]],', '{"a":1,"a":2},')
_KEYS: Final = ('"a":1,', '"":[],', '"\u00e9":{},', '"metadata":{},', '"amount":"1",')
_NAMES: Final = ("a,", ",", "a.", "A,", "status,", "_a", "%61,")
_PAIRS: Final = (
    "a=1&",
    "&",
    "=",
    "a[b]=1&",
    "a[",
    "]",
    "[]",
    "%41",
    "%",
    "a.",
    "metadata[a]=1&",
    "status=PENDING&",
    "+",
)
_WORDS: Final = (
    "pi_", "pi_a_secret_", "_secret_", "eyJ", "eyJa.", "://a:", "a:", "://", "@", "sk_test_", "whsec_", "1", "1 ", "a",
)  # fmt: skip

READERS: Final = {
    "a document": Reader(_request("POST /payments"), (*_MARKS, *_VALUES, *_KEYS)),
    "an open string before brackets": Reader(
        _request("POST /payments"), ('\\"', "\\\\", "a", '\\"['), start='"', end="[" * 33
    ),
    "fields": Reader(_request("POST /payments"), _KEYS, start="{", end='"b":1}'),
    "free data": Reader(_request("POST /payments"), _VALUES, start='{"currency":"USD","metadata":{"a":[', end="1]}}"),
    "free data behind a long key": Reader(
        _request("POST /payments"), ("a",), start='{"metadata":{"', end='":[' + "[]," * 4000 + "1]}}"
    ),
    "a number": Reader(
        _request("POST /payments"), ("1", "10", "1e", "0."), start='{"amount":1', end=',"metadata":{"a":1}}'
    ),
    "a number of free data": Reader(
        _request("POST /payments"), ("1", "9"), start='{"currency":"USD","metadata":{"a":1', end="}}"
    ),
    "a batch": Reader(
        _request("POST /ledger/transfers"),
        (*_VALUES, '{"amount":"1"},', '{"amount":1,"currency":"X","id":"","metadata":{"a":[]}},'),
        start='{"transfers":[',
        end="1]}",
    ),
    "a query": Reader(_query("GET /payments"), _PAIRS),
    "a mask of a query": Reader(_query("PATCH /payments/{id}"), _NAMES, start="updateMask="),
    "a mask of a message": Reader(_mask, _NAMES),
    "a message": Reader(_message, (*_MARKS, *_WORDS)),
    "a form": Reader(_form, _PAIRS),
    "headers": Reader(_headers, (",", ", ", ";", "=", '"', " ", "10.0.0.1,", "a=b;", "*,", "W/", "Bearer ")),
    "a path": Reader(_path(), ("/", "a/", ":", "%2F", "payments/", ":watch", "a")),
    "a line of the log": Reader(lambda text: logs.mask(None, "", {"event": text}), _WORDS),
}


def worst(size: int) -> Iterator[tuple[float, str]]:
    """Yield the seconds that each reader takes for each of its fragments, and what that was."""
    for name, reader in READERS.items():
        for fragment in reader.fragments:
            yield seconds(reader, reader.text(fragment, size), times=3), f"{name}, {fragment!r}"
