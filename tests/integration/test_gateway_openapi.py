"""The OpenAPI document: valid, complete, and as exact as the contract; and the page that shows it."""

import asyncio
import json
import re
import tomllib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import jsonschema_rs
import pytest
import schemathesis
from google.api import httpbody_pb2
from schemathesis.checks import CHECKS, load_all_checks

from gateway import backends, bindings, comments, openapi, problems, writer
from kobklein import VERSION, errors
from kobklein.payments.v1 import payments_pb2
from tests import gateways
from tests.gateways import Gallery, Gateway, gallery_pb2

JSON_SCHEMA = "https://json-schema.org/draft/2020-12/schema"
PROTOS = Path(__file__).parents[2] / "protos"
SEEDS_ROUTES = {
    ("post", "/payments"),
    ("get", "/payments"),
    ("post", "/payments/stripe/process"),
    ("post", "/payments/stripe/webhook"),
    ("post", "/payments/{id}/confirm"),
    ("get", "/payments/user/{userId}"),
    ("get", "/payments/analytics"),
    ("get", "/payments/{id}"),
    ("patch", "/payments/{id}"),
    ("delete", "/payments/{id}"),
    ("get", "/payments/{id}:watch"),
    ("get", "/ledger/verify"),
    ("post", "/wallets"),
    ("get", "/wallets"),
    ("get", "/wallets/user/{userId}"),
    ("get", "/wallets/{id}"),
    ("get", "/wallets/{id}/transactions"),
    ("get", "/transactions/{id}"),
}
"""Those that there were from the start, and that may never go."""


@pytest.fixture(scope="module")
def servicer() -> Gallery:
    return Gallery()


@pytest.fixture(scope="module")
async def gateway(servicer: Gallery) -> AsyncIterator[Gateway]:
    async with gateways.serving("gallery", servicer.add_to) as gateway:
        yield gateway


@pytest.fixture(scope="module")
async def gallery(gateway: Gateway) -> dict[str, Any]:
    document: dict[str, Any] = (await gateway.http.get("/openapi.json")).json()
    return document


@pytest.fixture(scope="module")
def kobklein() -> dict[str, Any]:
    """The document of the real contract."""
    methods: list[Any] = []
    for package in ("kobklein.payments", "kobklein.wallets"):
        methods += backends.of_package("any", package, None).methods.values()  # type: ignore[arg-type]  # never called
    return openapi.document(bindings.of(methods), comments.load())


def operation(document: dict[str, Any], method: str, path: str) -> dict[str, Any]:
    found: dict[str, Any] = document["paths"][path][method]
    return found


def schema(document: dict[str, Any], name: str) -> jsonschema_rs.Validator:
    root = {"$schema": JSON_SCHEMA, "$ref": f"#/components/schemas/{name}", "components": document["components"]}
    return jsonschema_rs.validator_for(root, validate_formats=True)


def test_both_documents_are_valid_openapi(gallery: dict[str, Any], kobklein: dict[str, Any]) -> None:
    for document in (gallery, kobklein):
        schemathesis.openapi.from_dict(document).validate()
        for component in document["components"]["schemas"].values():
            jsonschema_rs.meta.validate({"$schema": JSON_SCHEMA, **component})


def test_every_operation_is_described_by_the_comments_of_its_proto(kobklein: dict[str, Any]) -> None:
    create = operation(kobklein, "post", "/payments")
    assert create["summary"] == "Create a payment"
    assert create["description"].startswith("Records the intent to pay; no money moves")
    assert create["description"].endswith(
        "Callers: distributor, merchant, user for themselves; admin, service for everybody."
    )
    for path in kobklein["paths"].values():
        for found in path.values():
            assert found["summary"], found["operationId"]


def test_the_routes_are_the_seeds_and_those_of_the_protos_and_no_others(kobklein: dict[str, Any]) -> None:
    there = {(method, path) for path, item in kobklein["paths"].items() for method in item}
    assert there >= SEEDS_ROUTES
    shapes = [(method, unnamed(path)) for method, path in there]
    assert len(shapes) == len(set(shapes))
    assert set(shapes) == routes_of_the_protos() | {("post", "/payments/stripe/webhook")}
    operations = {item[method]["operationId"] for item in kobklein["paths"].values() for method in item}
    assert "CreateAccount" not in operations


def routes_of_the_protos() -> set[tuple[str, str]]:
    """Return every route that is written in a proto, read as text, without the names of its parameters."""
    texts = [file.read_text() for file in PROTOS.glob("kobklein/*/v1/*.proto")]
    written = [route for text in texts for route in re.findall(r'\b(get|put|post|delete|patch): "(/[^"]*)"', text)]
    routes = {(method, unnamed(path)) for method, path in written}
    assert len(routes) == len(written) > len(SEEDS_ROUTES)
    return routes


def unnamed(path: str) -> str:
    """Return a path whose parameters have no names: routes that only differ in those are the same."""
    return re.sub(r"{[^}]*}", "{}", path)


def test_a_request_schema_knows_limits_and_an_answer_schema_what_is_always_there(kobklein: dict[str, Any]) -> None:
    request = kobklein["components"]["schemas"]["CreatePaymentRequest"]
    assert request["required"] == ["amount", "method"]
    assert request["additionalProperties"] is False
    assert request["properties"]["description"]["maxLength"] == 500
    assert request["properties"]["currency"]["description"] == "ISO 4217 code. `HTG` when absent."
    payment = kobklein["components"]["schemas"]["Payment"]
    assert payment["properties"]["id"]["readOnly"] is True
    assert {"id", "description", "version"} <= set(payment["required"])
    assert set(kobklein["components"]["schemas"]["PaymentInput"]["properties"]) == {"status", "description", "metadata"}
    assert kobklein["components"]["schemas"]["PaymentStatus"]["enum"][0] == "PENDING"
    assert kobklein["components"]["schemas"]["TransferInput"]["properties"]["linked"]["writeOnly"] is True
    assert "linked" not in kobklein["components"]["schemas"]["Transfer"]["properties"]


def test_no_generated_client_is_told_to_always_give_what_has_a_default(kobklein: dict[str, Any]) -> None:
    assert list(found(kobklein, "default")) == []


def found(document: Any, key: str) -> Iterator[Any]:
    """Yield each value under a key, at whatever depth, but not in examples."""
    if isinstance(document, dict):
        yield from [document[key]] if key in document else []
        for name, value in document.items():
            if name not in ("example", "examples"):
                yield from found(value, key)
    elif isinstance(document, list):
        for value in document:
            yield from found(value, key)


def test_a_structure_holds_anything(kobklein: dict[str, Any]) -> None:
    for name in ("Payment", "CreatePaymentRequest"):
        assert kobklein["components"]["schemas"][name]["properties"]["metadata"]["additionalProperties"] is True


@pytest.mark.parametrize(
    ("method", "path", "names"),
    [
        ("get", "/wallets/{id}/statement", {"fromTime"}),
        ("get", "/accounts/{id}/statement", {"fromTime"}),
        ("get", "/wallets/{id}/statement:export", {"fromTime"}),
        ("put", "/rates/{rateSellCurrency}/{rateBuyCurrency}", {"reason"}),
        ("delete", "/rates/{rateSellCurrency}/{rateBuyCurrency}", {"reason"}),
        ("put", "/fees/{feeCurrency}/{feeType}", {"reason"}),
        ("delete", "/fees/{feeCurrency}/{feeType}", {"reason"}),
        ("get", "/payments", set()),
    ],
)
def test_a_parameter_that_a_call_needs_is_required(
    kobklein: dict[str, Any], method: str, path: str, names: set[str]
) -> None:
    of_query = [one for one in operation(kobklein, method, path)["parameters"] if one["in"] == "query"]
    assert {one["name"] for one in of_query if one["required"]} == names
    assert {one["name"] for one in of_query if "example" in one and one["example"] != {}} == names


def test_types_of_one_name_have_schemas_of_their_own(gallery: dict[str, Any]) -> None:
    schemas = gallery["components"]["schemas"]
    assert set(schemas["gallery.v1.Artist"]["properties"]) == {"id", "fullName"}
    assert set(schemas["gallery.v1.Sale.Artist"]["properties"]) == {"alias"}
    assert {"Artist", "ArtistInput"} & set(schemas) == set()
    artists = [schemas[name]["properties"]["artist"]["$ref"] for name in ("Painting", "Sale")]
    assert artists == [f"#/components/schemas/gallery.v1.{name}" for name in ("Artist", "Sale.Artist")]
    assert {"Painting", "PaintingInput", "PaintingStyle", "Depth"} <= set(schemas)


def test_every_operation_has_a_name_that_says_what_its_path_does(
    gallery: dict[str, Any], kobklein: dict[str, Any]
) -> None:
    for document in (gallery, kobklein):
        ids = list(found(document["paths"], "operationId"))
        assert len(ids) == len(set(ids))
        assert not [each for each in ids if re.search(r"\d$", each)]
    assert operation(kobklein, "get", "/payments")["operationId"] == "ListPayments"
    assert operation(kobklein, "get", "/payments/user/{userId}")["operationId"] == "ListPaymentsViaUser"
    assert operation(kobklein, "get", "/accounts/{id}/balance")["operationId"] == "GetBalanceViaAccounts"
    assert operation(gallery, "get", "/v1/files/{name}:download")["operationId"] == "FindByNameViaFilesDownload"
    assert operation(gallery, "post", "/v1/paintings/{id}/certificate")["operationId"] == "GetCertificateViaPost"


def test_one_version_stands_everywhere(kobklein: dict[str, Any]) -> None:
    project = tomllib.loads((PROTOS.parent / "pyproject.toml").read_text())["project"]
    assert kobklein["info"]["version"] == project["version"] == VERSION


def test_the_webhook_is_documented(kobklein: dict[str, Any]) -> None:
    webhook = operation(kobklein, "post", "/payments/stripe/webhook")
    assert (webhook["security"], webhook["operationId"]) == ([], "ReceiveStripeWebhook")
    assert [one["name"] for one in webhook["parameters"]] == ["Stripe-Signature"]
    assert set(webhook["responses"]) == {"200", "400", "413", "500", "503", "504"}


def test_each_example_fits_its_schema_and_each_operation_has_its_own(
    gallery: dict[str, Any], kobklein: dict[str, Any]
) -> None:
    for document in (gallery, kobklein):
        shown = [operation for item in document["paths"].values() for operation in item.values()]
        content = [*found(shown, "content"), *found(document["components"]["responses"], "content")]
        media = [media for one in content for kind, media in one.items() if "json" in kind]
        given = [one for operation in shown for one in operation["parameters"] if "example" in one]
        assert len(media) > len(shown)
        for one in (*media, *given):
            validator(document, one["schema"]).validate(one["example"])


def validator(document: dict[str, Any], described: dict[str, Any]) -> jsonschema_rs.Validator:
    root = {"$schema": JSON_SCHEMA, **described, "components": document["components"]}
    return jsonschema_rs.validator_for(root, validate_formats=True)


def test_an_example_of_an_answer_is_one_that_can_be(kobklein: dict[str, Any]) -> None:
    paid = operation(kobklein, "post", "/payments/stripe/process")["responses"]["201"]["content"]["application/json"]
    payment = paid["example"]
    assert (payment["status"], payment["failureCode"], payment["version"]) == ("COMPLETED", "", 3)
    assert "nextAction" not in payment
    for status, answer in kobklein["components"]["responses"].items():
        problem = answer["content"]["application/problem+json"]["example"]
        assert problem["status"] == int(status.removeprefix("Problem"))
        assert problem["type"].startswith("urn:kobklein:problem:")
    assert "example.com" not in json.dumps(kobklein)


def test_an_example_of_a_request_leaves_to_the_service_what_it_fills_in_itself(kobklein: dict[str, Any]) -> None:
    pay = operation(kobklein, "post", "/payments/stripe/process")["requestBody"]["content"]["application/json"]
    assert pay["example"] == {
        "amount": "100.00",
        "currency": "USD",
        "paymentMethodId": "pm_card_visa",
        "description": "Wallet deposit",
    }


def test_a_dry_run_has_a_success_of_its_own_where_the_real_call_creates_something(kobklein: dict[str, Any]) -> None:
    responses = operation(kobklein, "post", "/transfers")["responses"]
    assert responses["200"]["content"] == responses["201"]["content"]
    assert responses["200"]["description"] == "What would happen, for a dry run; nothing is created."
    assert "200" not in operation(kobklein, "post", "/holds")["responses"]
    assert "201" not in operation(kobklein, "post", "/ledger/transfers")["responses"]


@pytest.mark.parametrize("amount", ["100.00", "0.01", "99999999999.99", 100, 100.1])
def test_a_good_amount_fits_its_schema(kobklein: dict[str, Any], amount: object) -> None:
    assert schema(kobklein, "CreatePaymentRequest").is_valid({"amount": amount, "method": "STRIPE"})


@pytest.mark.parametrize("amount", ["1.234", "-1.00", "0", "0.00", "1e2", "", None, True, 0, 0.001, -5])
def test_a_bad_amount_does_not(kobklein: dict[str, Any], amount: object) -> None:
    assert not schema(kobklein, "CreatePaymentRequest").is_valid({"amount": amount, "method": "STRIPE"})


def test_what_the_writer_shows_fits_the_schema(kobklein: dict[str, Any]) -> None:
    payment = payments_pb2.Payment(id="1", amount=100, currency="USD", status=payments_pb2.PAYMENT_STATUS_PENDING)
    payment.metadata.update({"a": [1, None]})
    payment.next_action.type = "redirect_to_url"
    payment.created_time.FromSeconds(1_700_000_000)
    schema(kobklein, "Payment").validate(writer.of(payment.DESCRIPTOR)(payment))


def test_who_may_call_and_with_which_headers_is_told(gallery: dict[str, Any]) -> None:
    create = operation(gallery, "post", "/v1/paintings")
    update = operation(gallery, "patch", "/v1/paintings/{id}")
    headers = {one["name"]: one["required"] for one in create["parameters"] if one["in"] == "header"}
    assert headers == {"X-Request-Id": False, "Grpc-Timeout": False, "Idempotency-Key": False}
    assert create["security"] == [{"bearer": []}]
    assert operation(gallery, "get", "/v1/paintings/newest")["security"] == []
    assert {"If-Match", "Idempotency-Key"} <= {one["name"] for one in update["parameters"]}
    assert {"304", "200"} <= set(operation(gallery, "get", "/v1/paintings/{id}")["responses"])


def test_paths_of_every_shape_are_shown(gallery: dict[str, Any]) -> None:
    assert {"/v1/artists/{artistId}/paintings/{id}", "/v1/{name}", "/v1/files/{name}:download"} <= set(gallery["paths"])
    name = operation(gallery, "get", "/v1/{name}")["parameters"][0]
    assert (name["in"], name["schema"]["pattern"]) == ("path", "^rooms/[^/]+/walls/[^/]+$")


def test_a_query_shows_nested_and_repeated_fields(gallery: dict[str, Any]) -> None:
    found = {one["name"]: one["schema"] for one in operation(gallery, "get", "/v1/paintings:search")["parameters"]}
    assert {"artist.fullName", "createdFrom", "styles", "framed"} <= set(found)
    assert found["styles"]["type"] == "array"
    assert "notes" not in found


def test_a_map_in_a_query_is_shown_entry_by_entry_with_its_limits(gallery: dict[str, Any]) -> None:
    found = {one["name"]: one for one in operation(gallery, "get", "/v1/paintings:search")["parameters"]}
    marks = found["marks"]
    assert (marks["in"], marks["style"], marks["explode"]) == ("query", "deepObject", True)
    limits = jsonschema_rs.validator_for({"$schema": JSON_SCHEMA, **marks["schema"]})
    assert limits.is_valid({"a": "1", "abcde": "1234567890", "c": ""})
    for bad in (
        {"abcdef": "1"},
        {"a": "12345678901"},
        {"a": 1},
        {"a": None},
        {"a": "\0"},
        {"": "1"},
        dict.fromkeys("abcd", "1"),
    ):
        assert not limits.is_valid(bad), bad
    assert found["frame.smallMarks"]["style"] == "deepObject"


def test_an_enum_is_shown_with_what_a_request_may_give(gallery: dict[str, Any], kobklein: dict[str, Any]) -> None:
    found = {one["name"]: one["schema"] for one in operation(gallery, "get", "/v1/paintings:search")["parameters"]}
    assert found["frame.styles"]["items"] == {"type": "string", "enum": ["OIL"]}
    for method in ("put", "delete"):
        of_path = operation(kobklein, method, "/fees/{feeCurrency}/{feeType}")["parameters"]
        (type_,) = [one["schema"] for one in of_path if one["name"] == "feeType"]
        assert (type_["type"], type_["enum"]) == ("string", ["TRANSFER", "CONVERSION"])
    shown = kobklein["components"]["schemas"]["Fee"]["properties"]["type"]
    assert shown["$ref"] == "#/components/schemas/TransferType"


def test_a_file_is_described_by_its_media_types_and_headers(gallery: dict[str, Any]) -> None:
    whole = operation(gallery, "get", "/v1/paintings/{id}/certificate")["responses"]["200"]
    part = operation(gallery, "get", "/v1/paintings/{id}/photograph")["responses"]["200"]
    streamed = operation(gallery, "get", "/v1/catalogue:export")["responses"]["200"]
    assert [set(answer["content"]) for answer in (whole, part, streamed)] == [
        {"application/pdf", "text/html"},
        {"*/*"},
        {"text/csv"},
    ]
    for answer in (whole, part, streamed):
        assert {"Content-Disposition", "Content-Language", "Last-Modified"} <= set(answer["headers"])
    assert "ETag" in part["headers"]
    assert "Photograph" not in gallery["components"]["schemas"]


def test_a_stream_that_can_be_resumed_says_how(gallery: dict[str, Any]) -> None:
    follow = operation(gallery, "get", "/v1/sales:follow")
    assert {"Last-Event-ID", "cursor"} <= {one["name"] for one in follow["parameters"]}
    assert "The id of an event is its `cursor`." in follow["responses"]["200"]["description"]
    watch = operation(gallery, "get", "/v1/paintings/{id}:watch")
    assert "Last-Event-ID" not in {one["name"] for one in watch["parameters"]}


def test_a_problem_may_have_metadata(gallery: dict[str, Any]) -> None:
    problem = problems.of(errors.EtagMismatch(etag="8")).document(instance="/", request_id="1")
    schema(gallery, "Problem").validate(problem)
    assert problem["metadata"] == {"etag": "8"}
    assert not schema(gallery, "Problem").is_valid({**problem, "metadata": {"etag": 8}})


FUZZED = ["/v1/sales:follow", "/v1/paintings/{id}/certificate", "/v1/catalogue:export"]


@pytest.mark.parametrize("path", FUZZED)
async def test_files_cursors_and_maps_are_answered_as_they_are_described(
    gateway: Gateway, servicer: Gallery, gallery: dict[str, Any], path: str
) -> None:
    servicer.answer = httpbody_pb2.HttpBody(content_type="application/pdf", data=b"%PDF")
    sales, catalogue = gallery_pb2.Sale(cursor="a"), httpbody_pb2.HttpBody(content_type="text/csv", data=b"a;b")
    servicer.stream = [sales if path == FUZZED[0] else catalogue]
    served = schemathesis.openapi.from_dict(gallery)
    served.config.update(base_url=f"http://127.0.0.1:{gateway.port}")
    statuses = await asyncio.to_thread(fuzz, served[path]["GET"])
    assert 200 in statuses


def fuzz(operation: schemathesis.APIOperation) -> set[int]:
    """Call an operation with much that its description allows, and some that it forbids; return the statuses."""
    statuses = set()
    load_all_checks()

    @hypothesis.settings(
        max_examples=40,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(case=operation.as_strategy())
    def probe(case: schemathesis.Case) -> None:
        # A deadline of nanoseconds is a good one too, and its answer a 504.
        headers = {"Authorization": f"Bearer {gateways.token('user')}", "Grpc-Timeout": "20S"}
        answer = case.call_and_validate(headers=headers, excluded_checks=[CHECKS.get_one("ignored_auth")], timeout=10)
        statuses.add(answer.status_code)

    probe()
    return statuses


async def test_the_page_loads_nothing_from_other_hosts(gateway: Gateway) -> None:
    page = await gateway.http.get("/docs")
    assert "http" not in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    start = (await gateway.http.get("/docs/start.js")).text
    assert all(f"{setting}: true" in start for setting in ("filter", "persistAuthorization", "tryItOutEnabled"))
    for path in ("/docs/start.js", "/docs/static/swagger-ui-bundle.js", "/docs/static/swagger-ui.css"):
        assert (await gateway.http.get(path)).status_code == 200
