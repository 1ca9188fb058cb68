"""What is refused, and how: problem documents that name every offending field and show nothing from inside."""

import asyncio

import grpc
import pytest
import structlog.testing

from gateway import problems
from kobklein import client, errors
from tests import gateways, waiting
from tests.gateways import Gallery, Gateway
from tests.gateways import gallery_pb2 as pb

PAINTING = "/v1/paintings/1"


@pytest.fixture
def gallery(served: tuple[Gateway, Gallery]) -> Gallery:
    served[1].answer = Gallery().answer
    served[1].refusal = None
    served[1].received.clear()
    served[1].metadata.clear()
    served[1].deadlines.clear()
    served[1].holds = False
    served[1].answered.clear()
    for event in (served[1].held, served[1].ended, served[1].released):
        event.clear()
    return served[1]


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, 400),
        (grpc.StatusCode.FAILED_PRECONDITION, 400),
        (grpc.StatusCode.OUT_OF_RANGE, 400),
        (grpc.StatusCode.UNAUTHENTICATED, 401),
        (grpc.StatusCode.PERMISSION_DENIED, 403),
        (grpc.StatusCode.NOT_FOUND, 404),
        (grpc.StatusCode.ALREADY_EXISTS, 409),
        (grpc.StatusCode.ABORTED, 409),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, 429),
        (grpc.StatusCode.CANCELLED, 499),
        (grpc.StatusCode.UNIMPLEMENTED, 501),
        (grpc.StatusCode.UNAVAILABLE, 503),
        (grpc.StatusCode.DEADLINE_EXCEEDED, 504),
        (grpc.StatusCode.INTERNAL, 500),
        (grpc.StatusCode.UNKNOWN, 500),
        (grpc.StatusCode.DATA_LOSS, 500),
    ],
)
async def test_each_grpc_code_has_its_http_status_and_no_text_of_libraries_gets_out(
    gateway: Gateway, gallery: Gallery, code: grpc.StatusCode, status: int
) -> None:
    gallery.refusal = code
    answer = await gateway.http.get(PAINTING)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert "10.0.0.1" not in answer.text
    assert answer.json()["status"] == status


async def test_an_answer_that_is_too_long_is_nothing_to_come_back_for(gateway: Gateway, gallery: Gallery) -> None:
    gallery.answer = pb.Painting(title="x" * client.MAX_ANSWER_BYTES)
    with structlog.testing.capture_logs() as logs:
        answer = await gateway.http.get(PAINTING)
    assert (answer.status_code, answer.json()["reason"]) == (500, "INTERNAL_SERVER_ERROR")
    assert "retry-after" not in answer.headers
    (logged,) = [each for each in logs if each["event"] == "call failed"]
    assert (logged["code"], "larger than max" in logged["details"]) == ("RESOURCE_EXHAUSTED", True)


async def test_a_rich_error_shows_its_reason_and_its_message(gateway: Gateway, gallery: Gallery) -> None:
    gallery.refusal = errors.EtagMismatch(etag="8")
    answer = await gateway.http.get(PAINTING, headers={"x-request-id": "order-1"})
    assert answer.status_code == 412
    assert answer.json() == {
        "type": "urn:kobklein:problem:etag-mismatch",
        "title": "Etag mismatch",
        "status": 412,
        "detail": "the resource has changed: its etag is now 8",
        "instance": PAINTING,
        "reason": "ETAG_MISMATCH",
        "requestId": "order-1",
        "metadata": {"etag": "8"},
    }


async def test_metadata_is_named_as_fields_are_and_left_out_where_nobody_foresaw_the_error(
    gateway: Gateway, gallery: Gallery
) -> None:
    gallery.refusal = errors.RateLimited(retry_after_seconds=17)
    assert (await gateway.http.get(PAINTING)).json()["metadata"] == {"retryAfterSeconds": "17"}
    gallery.refusal = errors.Error(address="10.0.0.1")
    answer = await gateway.http.get(PAINTING)
    assert (answer.status_code, "metadata" in answer.json()) == (500, False)
    assert "10.0.0.1" not in answer.text


async def test_violations_of_a_service_come_in_the_names_that_the_client_uses(
    gateway: Gateway, gallery: Gallery
) -> None:
    gallery.refusal = errors.InvalidArgument(
        errors.Violation("painting.artist.full_name", "is odd"),
        errors.Violation("painting.tags[3]", "is odd"),
        errors.Violation("painting", "is odd"),
        errors.Violation("update_mask", "is odd"),
        errors.Violation("painting.notes.some_key", "is odd"),
    )
    answer = await gateway.http.patch(PAINTING, json={"title": "Sea"})
    fields = [error["field"] for error in answer.json()["errors"]]
    assert fields == ["artist.fullName", "tags[3]", "body", "updateMask", "notes.some_key"]


async def test_of_a_body_that_is_no_json_nothing_else_is_said(gateway: Gateway, gallery: Gallery) -> None:
    body = b'{"title": "Sea",}'
    headers = {"content-type": "application/json", "if-match": "7"}
    answer = await gateway.http.patch(PAINTING, content=body, headers=headers)
    assert [error["field"] for error in answer.json()["errors"]] == ["body", "If-Match"]
    answer = await gateway.http.put("/v1/paintings/1/title", content=body, headers=headers)
    assert [error["field"] for error in answer.json()["errors"]] == ["body"]


async def test_every_offending_field_of_a_body_is_named_at_once(gateway: Gateway, gallery: Gallery) -> None:
    body = b"""{"title": "longer than twenty characters", "style": "ACRYLIC", "price": "1.234", "colour": 1,
        "tags": [1, "a", null], "artist": {"id": 5, "age": 6}, "notes": {"a": 1, "a": 2}, "etag": "1"}"""
    headers = {"content-type": "application/json", "idempotency-key": "k"}
    answer = await gateway.http.post("/v1/paintings", content=body, headers=headers)
    assert answer.status_code == 400
    assert {error["field"]: error["detail"] for error in answer.json()["errors"]} == {
        "style": "is not one of OIL, WATER_COLOUR",
        "colour": "is not a known field",
        "tags[0]": "is not a string",
        "tags[2]": "is not a string",
        "artist.id": "is not a string",
        "artist.age": "is not a known field",
        "notes.a": "is given more than once",
        "price": "has more than the 2 decimals of HTG",
        "title": "is longer than 20 characters",
        "etag": "is set by the service",
    }
    assert gallery.received == []


@pytest.mark.parametrize(
    ("body", "field", "detail"),
    [
        (b"{", "body", "is not JSON: Expecting property name enclosed in double quotes at line 1 column 2"),
        (b'{"title": "\xff"}', "body", "is not UTF-8 at byte 11"),
        (b"\xff\xfe{\x00}\x00", "body", "is not UTF-8 at byte 0"),
        (b'{"title": "\\ud800"}', "title", "holds half of a surrogate pair"),
        (b'{"title": "a", "title": "b"}', "title", "is given more than once"),
        (b'{"notes": ' + b'{"a":' * 40 + b"1" + b"}" * 41, "notes", "is nested deeper than 32 levels"),
        (b'{"notes": ' + b"[" * 60_000, "notes", "is nested deeper than 32 levels"),
        (b'{"notes": {"a": NaN}}', "notes.a", "is not a number"),
        (b'{"notes": {"a": 1e400}}', "notes.a", "is not a number within range"),
        (b'{"notes": {"a": 9007199254740993}}', "notes.a", "is too large to be kept exactly; send it as a string"),
        (b'{"notes": {"\\ud800": 1}}', "notes.\\ud800", "holds half of a surrogate pair"),
        (b"[]", "body", "is not an object"),
        (b"null", "body", "is not an object"),
        (b'"text"', "body", "is not an object"),
        (b'{"style": 0}', "style", "is not one of OIL, WATER_COLOUR"),
        (b'{"style": "UNSPECIFIED"}', "style", "is not one of OIL, WATER_COLOUR"),
        (b'{"price": true}', "price", "is not an amount, such as 100.00"),
    ],
)
async def test_a_body_that_is_not_what_it_should_be_is_refused(
    gateway: Gateway, gallery: Gallery, body: bytes, field: str, detail: str
) -> None:
    headers = {"content-type": "application/json", "idempotency-key": "k"}
    answer = await gateway.http.post("/v1/paintings", content=body, headers=headers)
    assert answer.status_code == 400, answer.text
    assert answer.json()["errors"] == [{"field": field, "detail": detail}]
    assert gallery.received == []


@pytest.mark.parametrize(
    "price", ["100.10", "1e2", "1E400", "NaN", "Infinity", "99999999999999.99", "0.001", '""', '"\u0661"']
)
async def test_money_is_read_from_its_text_alone(gateway: Gateway, gallery: Gallery, price: str) -> None:
    body = f'{{"price": {price}, "currency": "USD"}}'
    headers = {"content-type": "application/json", "idempotency-key": "k"}
    answer = await gateway.http.post("/v1/paintings", content=body.encode(), headers=headers)
    if price == "100.10":
        assert gallery.received == [pb.Painting(price=10010, currency="USD")]
    else:
        assert [error["field"] for error in answer.json()["errors"]] == ["price"]


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "text/plain"},
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "application/json; charset=latin-1"},
        {"content-type": "application/json", "content-encoding": "gzip"},
        {"content-type": ""},
    ],
)
async def test_a_body_that_is_not_plain_json_is_415(gateway: Gateway, headers: dict[str, str]) -> None:
    answer = await gateway.http.post("/v1/paintings", content=b"{}", headers={"idempotency-key": "k", **headers})
    assert answer.status_code == 415, answer.text


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "application/merge-patch+json"])
async def test_json_by_any_of_its_names_is_read(gateway: Gateway, kind: str) -> None:
    answer = await gateway.http.patch(PAINTING, content=b"{}", headers={"content-type": kind})
    assert answer.status_code == 200


async def test_a_body_where_none_is_taken_is_refused(gateway: Gateway, gallery: Gallery) -> None:
    answer = await gateway.http.request("GET", PAINTING, content=b"{}")
    assert answer.json()["errors"] == [{"field": "body", "detail": "is not taken by this operation"}]


async def test_a_call_without_a_key_gets_one_that_is_marked_as_made_here(gateway: Gateway, gallery: Gallery) -> None:
    for _ in range(2):
        assert (await gateway.http.post("/v1/paintings", json={})).status_code == 201
    first, second = gallery.metadata
    assert first["idempotency-key"] != second["idempotency-key"]
    assert (first["idempotency-key-made"], second["idempotency-key-made"]) == ("true", "true")


async def test_where_keys_are_required_a_call_that_should_have_one_is_refused_without() -> None:
    gallery = Gallery()
    async with gateways.serving("gallery", gallery.add_to, require_idempotency_keys=True) as gateway:
        answer = await gateway.http.post("/v1/paintings", json={})
        assert (answer.status_code, answer.json()["reason"]) == (400, "IDEMPOTENCY_KEY_MISSING")
        assert "Idempotency-Key" in answer.json()["detail"]
        described = (await gateway.http.get("/openapi.json")).json()["paths"]["/v1/paintings"]["post"]["parameters"]
        assert {each["name"]: each["required"] for each in described if "Key" in each["name"]} == {
            "Idempotency-Key": True
        }
        assert (await gateway.http.patch(PAINTING, json={})).status_code == 200
        assert (await gateway.http.post("/v1/paintings", json={}, headers={"idempotency-key": "k"})).status_code == 201
    assert [metadata.get("idempotency-key-made") for metadata in gallery.metadata] == ["true", None]


@pytest.mark.parametrize("key", ["", "é".encode(), "k" * 256])
async def test_a_key_that_is_not_short_ascii_is_refused(gateway: Gateway, gallery: Gallery, key: str) -> None:
    answer = await gateway.http.post("/v1/paintings", json={}, headers={"idempotency-key": key})
    assert answer.json()["errors"][0]["field"] == "Idempotency-Key"
    assert gallery.received == []


async def test_headers_travel_as_metadata_and_back(gateway: Gateway, gallery: Gallery) -> None:
    headers = {"idempotency-key": "k 1", "x-request-id": "r-1", "accept-language": "ht", "x-other": "secret"}
    answer = await gateway.http.post("/v1/paintings", json={}, headers=headers)
    metadata = gallery.metadata[0]
    assert (metadata["idempotency-key"], metadata["x-request-id"], metadata["accept-language"]) == ("k 1", "r-1", "ht")
    assert metadata["authorization"].startswith("Bearer ")
    assert metadata["x-client-address"] == "127.0.0.1"
    assert "x-other" not in metadata
    assert answer.headers["idempotency-replayed"] == "true"
    assert answer.headers["x-request-id"] == "r-1"
    assert "secret" not in answer.headers


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, "é"])
async def test_a_request_id_that_does_not_fit_is_replaced(gateway: Gateway, gallery: Gallery, given: str) -> None:
    answer = await gateway.http.get(PAINTING, headers={"x-request-id": given.encode()})
    assert answer.headers["x-request-id"] not in ("", given)
    assert answer.headers["x-request-id"] == gallery.metadata[0]["x-request-id"]


async def test_a_header_that_comes_twice_but_has_one_meaning_is_refused(gateway: Gateway, gallery: Gallery) -> None:
    headers = [("idempotency-key", "a"), ("idempotency-key", "b")]
    answer = await gateway.http.post("/v1/paintings", json={}, headers=headers)
    assert answer.json()["errors"] == [{"field": "Idempotency-Key", "detail": "is given more than once"}]


@pytest.mark.parametrize(("given", "seconds"), [("500m", 0.5), ("2S", 2), ("1H", 30), (None, 10)])
async def test_the_deadline_comes_from_a_header_within_bounds(
    gateway: Gateway, gallery: Gallery, given: str | None, seconds: float
) -> None:
    await gateway.http.get(PAINTING, headers={"grpc-timeout": given} if given else {})
    assert gallery.deadlines[0] == pytest.approx(seconds, abs=0.3)


@pytest.mark.parametrize("given", ["50m", "5u", "100n"])
async def test_a_deadline_of_any_unit_of_grpc_ends_the_call(gateway: Gateway, gallery: Gallery, given: str) -> None:
    gallery.holds = True
    answer = await gateway.http.get(PAINTING, headers={"grpc-timeout": given})
    assert (answer.status_code, answer.json()["reason"]) == (504, "GATEWAY_TIMEOUT")


@pytest.mark.parametrize("given", ["1", "S", "-1S", "123456789S", "1.5S", "0S", "1U", "1 S", "5S5S"])
async def test_a_deadline_that_is_none_is_refused(gateway: Gateway, given: str) -> None:
    answer = await gateway.http.get(PAINTING, headers={"grpc-timeout": given})
    assert answer.json()["errors"][0]["field"] == "Grpc-Timeout"


async def test_an_etag_that_the_client_has_already_saves_the_answer(gateway: Gateway, gallery: Gallery) -> None:
    for tag in ('"7"', 'W/"7"', '"6", "7"', "*"):
        answer = await gateway.http.get(PAINTING, headers={"if-none-match": tag})
        assert (answer.status_code, answer.headers["etag"], answer.content) == (304, '"7"', b"")
    assert (await gateway.http.get(PAINTING, headers={"if-none-match": '"6"'})).status_code == 200


@pytest.mark.parametrize("tag", ["7", '"7', '"6", "7"', '""7"'])
async def test_if_match_names_one_tag(gateway: Gateway, gallery: Gallery, tag: str) -> None:
    answer = await gateway.http.patch(PAINTING, json={}, headers={"if-match": tag})
    assert [error["field"] for error in answer.json()["errors"]] == ["If-Match"]


async def test_if_match_and_the_query_may_not_differ(gateway: Gateway, gallery: Gallery) -> None:
    same = await gateway.http.patch(f"{PAINTING}?etag=7", json={}, headers={"if-match": '"7"'})
    other = await gateway.http.patch(f"{PAINTING}?etag=6", json={}, headers={"if-match": '"7"'})
    anything = await gateway.http.patch(PAINTING, json={}, headers={"if-match": "*"})
    assert [answer.status_code for answer in (same, other, anything)] == [200, 400, 200]


@pytest.mark.parametrize(
    ("authorization", "said"),
    [
        ("", "a bearer token is needed: there is no Authorization header"),
        ("Bearer", "a bearer token is needed: Authorization must be the word Bearer and the token"),
        ("Basic dTpw", "a bearer token is needed: Authorization must be the word Bearer and the token"),
        ("Bearer x.y.z", "the token is malformed: it is no JWT, or has a crit in its header"),
        (
            f"Bearer {gateways.token('user', subject='a b')}",
            "the token has no usable sub: it is not 1 to 255 visible ASCII characters other than /",
        ),
    ],
)
async def test_a_call_without_a_proved_caller_is_401_and_says_why(
    gateway: Gateway, gallery: Gallery, authorization: str, said: str
) -> None:
    invalid = f'Bearer error="invalid_token", error_description="{said}"'
    challenge = invalid if said.startswith("the token") else "Bearer"
    with structlog.testing.capture_logs() as logs:
        answer = await gateway.http.get(PAINTING, headers={"authorization": authorization})
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, challenge)
    assert (answer.json()["detail"], logs[-1]["detail"]) == (said, said)
    assert gallery.received == []


async def test_a_challenge_has_no_character_that_a_header_may_not_have() -> None:
    refusal = problems.of(errors.Unauthenticated('its iss must be "é\\\n', invalid_token=True))
    assert refusal.headers == (
        (b"www-authenticate", b'Bearer error="invalid_token", error_description="its iss must be ????"'),
    )


async def test_a_caller_with_another_role_is_403_and_told_the_roles(gateway: Gateway, gallery: Gallery) -> None:
    with structlog.testing.capture_logs() as logs:
        answer = await gateway.http.delete(PAINTING)
    said = "this needs admin; this token has user"
    assert (answer.status_code, answer.json()["reason"], answer.json()["detail"]) == (403, "PERMISSION_DENIED", said)
    assert logs[-1]["detail"] == said


@pytest.mark.parametrize("roles", [("service",), ("user", "service"), ("admin", "service")])
async def test_the_role_of_services_is_not_taken_from_outside(
    gateway: Gateway, gallery: Gallery, roles: tuple[str, ...]
) -> None:
    headers = {"authorization": f"Bearer {gateways.token(*roles)}"}
    answer = await gateway.http.get(PAINTING, headers=headers)
    assert (answer.status_code, answer.json()["reason"]) == (403, "PERMISSION_DENIED")
    assert "services call over gRPC" in answer.json()["detail"]
    assert gallery.received == []


async def test_a_read_whose_client_has_left_is_cancelled_at_the_service_and_a_change_runs_on(
    gateway: Gateway, gallery: Gallery
) -> None:
    gallery.holds = True
    head = f"host: a\r\nauthorization: {gateway.http.headers['authorization']}\r\n"
    change = await begun(gateway, gallery, f"PUT {PAINTING}/title HTTP/1.1\r\n{head}content-length: 0\r\n\r\n")
    read = await begun(gateway, gallery, f"GET {PAINTING} HTTP/1.1\r\n{head}\r\n")
    with structlog.testing.capture_logs() as logs:
        change.close()
        await change.wait_closed()
        read.close()
        await asyncio.wait_for(gallery.ended.wait(), 10)
        await waiting.until("the read is in the log", lambda: any(each.get("status") == 499 for each in logs))
    assert [each["method"] for each in logs if each["event"] == "request"] == ["GET"]
    gallery.released.set()
    await waiting.until("the change is answered", lambda: bool(gallery.answered))
    assert [type(each) for each in gallery.answered] == [pb.ReplaceTitleRequest]


async def begun(gateway: Gateway, gallery: Gallery, request: str) -> asyncio.StreamWriter:
    """Send a request, and return its connection once the service holds the call."""
    gallery.held.clear()
    _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(request.encode())
    await asyncio.wait_for(gallery.held.wait(), 10)
    return writer


@pytest.mark.parametrize(
    ("method", "path", "times"),
    [("GET", PAINTING, 4), ("PATCH", PAINTING, 4), ("PUT", f"{PAINTING}/title", 1), ("POST", f"{PAINTING}:restore", 1)],
)
async def test_a_part_that_is_away_is_asked_again_only_where_asking_twice_is_asking_once(
    gateway: Gateway, gallery: Gallery, method: str, path: str, times: int
) -> None:
    gallery.refusal = grpc.StatusCode.UNAVAILABLE
    answer = await gateway.http.request(method, path)
    assert (answer.status_code, len(gallery.received)) == (503, times)
    keys = {each.get("idempotency-key") for each in gallery.metadata}
    assert len(keys) == 1
    assert (None in keys) == (method != "PATCH")


async def test_retry_after_says_when(gateway: Gateway, gallery: Gallery) -> None:
    gallery.refusal = errors.RateLimited(retry_after_seconds=17)
    assert (await gateway.http.get(PAINTING)).headers["retry-after"] == "17"
    for code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED):
        gallery.refusal = code
        assert (await gateway.http.get(PAINTING)).headers["retry-after"] == "1"
