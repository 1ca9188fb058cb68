"""What stands around every route: limits against hostile clients, safe headers, addresses, logs and metrics."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator

import pytest
import structlog

from tests import gateways
from tests.gateways import Gallery, Gateway

TOKEN = gateways.token("user").encode()
HEAD = b"GET /v1/paintings/1 HTTP/1.1\r\nhost: x\r\nauthorization: Bearer " + TOKEN + b"\r\n"
POST = HEAD.replace(b"GET /v1/paintings/1 ", b"POST /v1/paintings ") + b"content-type: application/json\r\n"
LIMITS = {"receive_seconds": 0.3, "longest_body_bytes": 4096, "longest_head_bytes": 4096, "keep_alive_seconds": 1}


@pytest.fixture(scope="module")
async def served() -> AsyncIterator[tuple[Gateway, Gallery]]:
    gallery = Gallery()
    async with gateways.serving("gallery", gallery.add_to, **LIMITS) as gateway:
        yield gateway, gallery


@pytest.fixture
def gallery(served: tuple[Gateway, Gallery]) -> Gallery:
    served[1].received.clear()
    return served[1]


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def problem_of(answer: bytes) -> str:
    assert b"content-type: application/problem+json" in answer.lower()
    return str(json.loads(answer.partition(b"\r\n\r\n")[2])["reason"])


async def test_every_answer_carries_safe_headers(gateway: Gateway) -> None:
    for answer in (await gateway.http.get("/v1/paintings/1"), await gateway.http.get("/nothing")):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert "server" not in answer.headers
        assert "strict-transport-security" not in answer.headers


async def test_scripts_of_other_origins_may_not_call(gateway: Gateway) -> None:
    answer = await gateway.http.get("/v1/paintings/1", headers={"origin": "https://example.org"})
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    "slow", [b"", b"GET /v1", HEAD, POST + b"idempotency-key: k\r\ncontent-length: 10\r\n\r\n{", b"\r\n\r\n"]
)
async def test_a_request_that_never_arrives_is_given_up(gateway: Gateway, slow: bytes) -> None:
    answer = await gateways.exchange(gateway.port, slow)
    assert (status_of(answer), problem_of(answer)) == (408, "REQUEST_TIMEOUT")


async def test_a_steady_trickle_does_not_buy_time(gateway: Gateway) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    answer = asyncio.create_task(reader.read())
    sent = 0
    while not answer.done() and sent < len(HEAD):
        writer.write(HEAD[sent : sent + 1])
        sent += 1
        await asyncio.wait([answer], timeout=0.02)
    assert (status_of(answer.result()), sent < len(HEAD)) == (408, True)
    writer.close()


async def test_a_trickle_of_empty_lines_between_requests_does_not_keep_a_connection(gateway: Gateway) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(HEAD + b"\r\n")
    rest = asyncio.create_task(reader.read())
    for _ in range(200):
        if rest.done():
            break
        writer.write(b"\r\n")
        await asyncio.wait([rest], timeout=0.02)
    assert rest.result().startswith(b"HTTP/1.1 200")
    writer.close()


@pytest.mark.parametrize("length", [4000, 100_000])
async def test_a_head_has_a_limit(gateway: Gateway, length: int) -> None:
    answer = await gateways.exchange(gateway.port, HEAD + b"x-long: " + b"x" * length + b"\r\n\r\n")
    assert (status_of(answer), problem_of(answer)) == (431, "REQUEST_HEADER_FIELDS_TOO_LARGE")


async def test_an_endless_header_is_cut_off_before_it_ends(gateway: Gateway) -> None:
    answer = await gateways.exchange(gateway.port, HEAD + b"x-long: " + b"x" * 1_000_000)
    assert status_of(answer) == 431


async def test_a_body_has_a_limit_that_is_known_before_it_is_sent(gateway: Gateway, gallery: Gallery) -> None:
    head = POST + b"idempotency-key: k\r\ncontent-length: 4194305\r\nconnection: close\r\n\r\n"
    answer = await gateways.exchange(gateway.port, head)
    assert (status_of(answer), problem_of(answer)) == (413, "CONTENT_TOO_LARGE")


async def test_a_body_of_more_than_4_mib_is_refused_and_the_connection_goes_on(gateway: Gateway) -> None:
    headers = {"idempotency-key": "k", "content-type": "application/json"}
    for _ in range(2):
        answer = await gateway.http.post("/v1/paintings", content=b"x" * (4 * 1024 * 1024 + 1), headers=headers)
        assert answer.status_code == 413


async def test_a_chunked_body_is_counted_as_it_comes(gateway: Gateway, gallery: Gallery) -> None:
    chunk = b"1000\r\n" + b"x" * 4096 + b"\r\n"
    head = POST + b"idempotency-key: k\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n"
    answer = await gateways.exchange(gateway.port, head + chunk * 2 + b"0\r\n\r\n")
    assert status_of(answer) == 413
    assert gallery.received == []


@pytest.mark.parametrize(
    "smuggled",
    [
        b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"content-length: 2\r\ncontent-length: 3\r\n\r\n{}",
        b"content-length: -1\r\n\r\n{}",
        b"content-length: +2\r\n\r\n{}",
        b"transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        b"content length: 2\r\n\r\n{}",
        b"authorization: Bearer other\r\n\r\n",
        b"host: y\r\n\r\n",
    ],
)
async def test_headers_that_mean_two_things_are_refused(gateway: Gateway, gallery: Gallery, smuggled: bytes) -> None:
    answer = await gateways.exchange(gateway.port, POST + b"connection: close\r\nidempotency-key: k\r\n" + smuggled)
    assert (status_of(answer), gallery.received) == (400, [])
    problem_of(answer)


async def test_trailers_do_not_pose_as_headers(gateway: Gateway, gallery: Gallery) -> None:
    head = POST + b"transfer-encoding: chunked\r\nconnection: close\r\n\r\n"
    answer = await gateways.exchange(gateway.port, head + b"2\r\n{}\r\n0\r\nidempotency-key: k\r\n\r\n")
    assert (status_of(answer), gallery.metadata[-1]["idempotency-key-made"]) == (201, "true")


@pytest.mark.parametrize(
    "raw",
    [
        b"nonsense\r\n\r\n",
        b"\x16\x03\x01\x00\xa5",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"CONNECT x:443 HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET /v1/paintings/\xff HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET /v1 HTTP/1.1\r\nhost: x\r\nx: a\x00b\r\n\r\n",
        b"GET /v1 HTTP/1.1\r\n folded: x\r\n\r\n",
        b"GET /v1/paintings/1 HTTP/1.1\r\nauthorization: Bearer " + TOKEN + b"\r\n\r\n",
        HEAD.replace(b"/1 ", b"/%zz ") + b"\r\n",
        HEAD.replace(b"/1 ", b"/1% ") + b"\r\n",
        HEAD.replace(b"/1 ", b"/%2 ") + b"\r\n",
        HEAD.replace(b"/1 ", b"/1?a=%zz ") + b"\r\n",
    ],
)
async def test_what_is_no_http_gets_a_problem_document_too(gateway: Gateway, raw: bytes) -> None:
    answer = await gateways.exchange(gateway.port, raw)
    assert (status_of(answer), problem_of(answer)) == (400, "BAD_REQUEST")


async def test_pipelined_requests_are_answered_in_order(gateway: Gateway) -> None:
    last = HEAD.replace(b"/v1/paintings/1", b"/nothing") + b"connection: close\r\n\r\n"
    answer = await gateways.exchange(gateway.port, (HEAD + b"\r\n") * 3 + last)
    assert [part[:4] for part in answer.split(b"HTTP/1.1")[1:]] == [b" 200", b" 200", b" 200", b" 404"]


async def test_metrics_name_the_template_and_never_the_path(gateway: Gateway) -> None:
    await gateway.http.get("/v1/paintings/secret-id")
    await gateway.http.request("TRACE", "/v1/secret-path")
    metrics = (await gateway.http.get("/metrics")).text
    assert 'gateway_requests_total{method="GET",route="/v1/paintings/{id}",status="200"}' in metrics
    assert "secret" not in metrics


async def test_the_log_has_one_line_a_request_without_path_body_or_token(gateway: Gateway) -> None:
    with structlog.testing.capture_logs() as lines:
        await gateway.http.get("/v1/paintings/secret-id?artist.id=secret", headers={"x-request-id": "r-7"})
    line = next(line for line in lines if line["event"] == "request")
    assert {**line, "ms": 0} == {
        "event": "request", "log_level": "info", "method": "GET", "route": "/v1/paintings/{id}", "status": 200,
        "ms": 0, "subject": "user-1", "client": "127.0.0.1", "request_id": "r-7",
    }  # fmt: skip


async def test_liveness_and_readiness_tell_apart_themselves_and_the_services(gateway: Gateway) -> None:
    assert (await gateway.http.get("/healthz")).json() == {"status": "alive"}
    assert (await gateway.http.get("/readyz")).json() == {"status": "ready", "services": {"gallery": "SERVING"}}


async def test_a_production_gateway_hides_what_is_not_for_clients() -> None:
    gallery = Gallery()
    async with gateways.serving("gallery", gallery.add_to, docs=False, metrics=False, hsts=True) as gateway:
        for path in ("/docs", "/openapi.json", "/metrics", "/docs/static/swagger-ui.css"):
            assert (await gateway.http.get(path)).status_code == 404
        assert "max-age" in (await gateway.http.get("/healthz")).headers["strict-transport-security"]


async def test_an_unready_service_makes_the_gateway_unready() -> None:
    async with gateways.serving("gallery", lambda _: None, healthy=False) as gateway:
        answer = await gateway.http.get("/readyz")
        assert (answer.status_code, answer.json()["services"]) == (503, {"gallery": "NOT_SERVING"})
        assert (await gateway.http.get("/v1/paintings/1")).status_code == 501


async def test_origins_that_are_configured_may_call() -> None:
    gallery = Gallery()
    async with gateways.serving("gallery", gallery.add_to, cors_origins=("https://app.example",)) as gateway:
        asked = {"origin": "https://app.example", "access-control-request-method": "POST"}
        preflight = await gateway.http.options("/v1/paintings", headers=asked)
        answer = await gateway.http.get("/v1/paintings/1", headers={"origin": "https://app.example"})
        assert preflight.status_code == 200
        assert answer.headers["access-control-allow-origin"] == "https://app.example"


async def test_more_connections_than_allowed_are_turned_away() -> None:
    async with gateways.serving("gallery", Gallery().add_to, most_connections=1) as gateway:
        _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        answer = await gateways.exchange(gateway.port, b"")
        writer.close()
        assert (status_of(answer), problem_of(answer)) == (503, "SERVICE_UNAVAILABLE")
        assert b"\r\nretry-after: 1\r\n" in answer


async def test_more_requests_than_allowed_are_told_to_come_back() -> None:
    async with gateways.serving("gallery", Gallery().add_to, most_requests=1, receive_seconds=60) as gateway:
        _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(POST + b"idempotency-key: a\r\ncontent-length: 2\r\n\r\n{")
        while (answer := await gateway.http.get("/v1/paintings/1")).status_code == 200:
            pass  # The other request is on its way.
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        writer.close()
        while (await gateway.http.get("/v1/paintings/1")).status_code == 503:
            pass  # Its end is.


async def test_streams_have_places_of_their_own_and_leave_those_of_requests() -> None:
    gallery = Gallery()
    gallery.stream = [None]
    async with gateways.serving("gallery", gallery.add_to, most_requests=1, most_streams=2) as gateway:
        streams = []
        for _ in range(2):
            gallery.held.clear()
            streams.append(asyncio.create_task(gateway.http.get("/v1/paintings/1:watch", timeout=60)))
            await asyncio.wait_for(gallery.held.wait(), 60)
        for path in ("/v1/paintings/1:watch", "/v1/catalogue:export"):
            refused = await gateway.http.get(path)
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
            assert refused.json()["detail"] == "too many streams at a time"
        assert (await gateway.http.get("/v1/paintings/1")).status_code == 200
        gallery.ended.clear()
        streams[0].cancel()
        await asyncio.wait_for(gallery.ended.wait(), 60)
        gallery.stream = []
        while (answer := await gateway.http.get("/v1/paintings/1:watch")).status_code == 503:
            pass  # Its place is free once the gateway has seen that the client left.
        assert answer.status_code == 200
        streams[1].cancel()


async def test_a_client_that_does_not_read_is_cut_off() -> None:
    gallery = Gallery()
    gallery.stream = itertools.repeat(gateways.gallery_pb2.Painting(title="x" * 100_000))
    async with gateways.serving("gallery", gallery.add_to, send_stall_seconds=0.2) as gateway:
        _, writer = await asyncio.open_connection("127.0.0.1", gateway.port, limit=1024)
        writer.write(HEAD.replace(b"/1 ", b"/1:watch ") + b"\r\n")
        await asyncio.wait_for(gallery.ended.wait(), 10)
        writer.close()
