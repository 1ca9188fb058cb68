"""The OpenAPI document: valid, complete, and as exact as the contract; and the page that shows it."""

from collections.abc import AsyncIterator
from typing import Any

import jsonschema_rs
import pytest
import schemathesis

from gateway import backends, bindings, comments, openapi, writer
from kobklein.payments.v1 import payments_pb2
from tests import gateways
from tests.gateways import Gallery, Gateway

JSON_SCHEMA = "https://json-schema.org/draft/2020-12/schema"


@pytest.fixture(scope="module")
async def gateway() -> AsyncIterator[Gateway]:
    async with gateways.serving("gallery", Gallery().add_to) as gateway:
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


def test_the_seeds_routes_are_there_and_internal_ones_are_not(kobklein: dict[str, Any]) -> None:
    assert {(path, method) for path, item in kobklein["paths"].items() for method in item} == {
        ("/payments", "post"),
        ("/payments", "get"),
        ("/payments/stripe/process", "post"),
        ("/payments/stripe/webhook", "post"),
        ("/payments/{id}/confirm", "post"),
        ("/payments/user/{userId}", "get"),
        ("/payments/analytics", "get"),
        ("/payments/{id}", "get"),
        ("/payments/{id}", "patch"),
        ("/payments/{id}", "delete"),
        ("/payments/{id}:watch", "get"),
        ("/ledger/verify", "get"),
        ("/wallets", "post"),
        ("/wallets", "get"),
        ("/wallets/user/{userId}", "get"),
        ("/wallets/{id}", "get"),
        ("/wallets/{id}/transactions", "get"),
        ("/transactions/{id}", "get"),
    }


def test_a_request_schema_knows_limits_and_an_answer_schema_what_is_always_there(kobklein: dict[str, Any]) -> None:
    request = kobklein["components"]["schemas"]["CreatePaymentRequest"]
    assert request["required"] == ["amount", "method"]
    assert request["additionalProperties"] is False
    assert request["properties"]["description"]["maxLength"] == 500
    assert request["properties"]["currency"]["default"] == "HTG"
    payment = kobklein["components"]["schemas"]["Payment"]
    assert payment["properties"]["id"]["readOnly"] is True
    assert {"id", "description", "version"} <= set(payment["required"])
    assert set(kobklein["components"]["schemas"]["PaymentInput"]["properties"]) == {"status", "description", "metadata"}
    assert kobklein["components"]["schemas"]["PaymentStatus"]["enum"][0] == "PENDING"


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
    assert headers == {"X-Request-Id": False, "Grpc-Timeout": False, "Idempotency-Key": True}
    assert create["security"] == [{"bearer": []}]
    assert operation(gallery, "get", "/v1/paintings/newest")["security"] == []
    assert {"If-Match", "Idempotency-Key"} <= {one["name"] for one in update["parameters"]}
    assert {"304", "200"} <= set(operation(gallery, "get", "/v1/paintings/{id}")["responses"])


def test_paths_of_every_shape_are_shown(gallery: dict[str, Any]) -> None:
    assert {"/v1/artists/{artist.id}/paintings/{id}", "/v1/{name}", "/v1/files/{name}:download"} <= set(
        gallery["paths"]
    )
    name = operation(gallery, "get", "/v1/{name}")["parameters"][0]
    assert (name["in"], name["schema"]["pattern"]) == ("path", "^rooms/[^/]+/walls/[^/]+$")


def test_a_query_shows_nested_and_repeated_fields(gallery: dict[str, Any]) -> None:
    found = {one["name"]: one["schema"] for one in operation(gallery, "get", "/v1/paintings:search")["parameters"]}
    assert {"artist.fullName", "createdFrom", "styles", "framed"} <= set(found)
    assert found["styles"]["type"] == "array"
    assert "notes" not in found


async def test_the_page_loads_nothing_from_other_hosts(gateway: Gateway) -> None:
    page = await gateway.http.get("/docs")
    assert "http" not in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    for path in ("/docs/start.js", "/docs/static/swagger-ui-bundle.js", "/docs/static/swagger-ui.css"):
        assert (await gateway.http.get(path)).status_code == 200
