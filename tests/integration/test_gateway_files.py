"""Answers that are no JSON: files whole and in streams, their headers, and what a broken stream looks like."""

import asyncio

import grpc
import httpx
import pytest
import structlog
from google.api import httpbody_pb2

from kobklein import errors
from tests import gateways
from tests.gateways import Gallery, Gateway
from tests.gateways import gallery_pb2 as pb

CERTIFICATE = "/v1/paintings/1/certificate"
PHOTOGRAPH = "/v1/paintings/1/photograph"
EXPORT = "/v1/catalogue:export"
BYTES = bytes(range(256))


def file(data: bytes, content_type: str = "application/pdf") -> httpbody_pb2.HttpBody:
    return httpbody_pb2.HttpBody(content_type=content_type, data=data)


@pytest.fixture
def gallery(served: tuple[Gateway, Gallery]) -> Gallery:
    served[1].answer = file(BYTES)
    served[1].refusal = None
    served[1].stream = []
    served[1].initial = ()
    served[1].received.clear()
    served[1].held.clear()
    served[1].ended.clear()
    return served[1]


async def test_a_file_is_sent_as_it_is(gateway: Gateway, gallery: Gallery) -> None:
    for answer in (await gateway.http.get(CERTIFICATE), await gateway.http.post(CERTIFICATE, json={})):
        assert answer.status_code == 200
        assert answer.content == BYTES
        assert answer.headers["content-type"] == "application/pdf"
        assert answer.headers["content-length"] == "256"
        assert answer.headers["idempotency-replayed"] == "true"
    assert gallery.received == [pb.GetPaintingRequest(id="1")] * 2


async def test_a_file_carries_safe_headers_and_those_that_its_service_may_set(
    gateway: Gateway, gallery: Gallery
) -> None:
    gallery.initial = (
        ("http-content-disposition", 'attachment; filename="a.pdf"'),
        ("http-content-language", "ht"),
        ("http-content-security-policy", "default-src *"),
        ("http-set-cookie", "a=b"),
        ("x-frame-options", "ALLOW"),
    )
    headers = (await gateway.http.get(CERTIFICATE)).headers
    assert headers["content-disposition"] == 'attachment; filename="a.pdf"'
    assert headers["content-language"] == "ht"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["cache-control"] == "no-store"
    assert headers.get_list("content-security-policy") == ["default-src 'none'; frame-ancestors 'none'"]
    assert "set-cookie" not in headers


@pytest.mark.parametrize("content_type", ["text/html", "Text/HTML; charset=utf-8", "application/xhtml+xml"])
async def test_a_page_may_have_a_style_but_no_script(gateway: Gateway, gallery: Gallery, content_type: str) -> None:
    gallery.answer = file(b"<script>alert(1)</script>", content_type)
    headers = (await gateway.http.get(CERTIFICATE)).headers
    policies = headers.get_list("content-security-policy")
    assert len(policies) == 1
    assert policies[0].startswith("default-src 'none'; style-src 'unsafe-inline'; ")
    assert "script-src" not in policies[0]
    assert {"sandbox", "frame-ancestors 'none'", "form-action 'none'"} <= set(policies[0].split("; "))
    assert headers["x-content-type-options"] == "nosniff"


async def test_a_file_of_no_type_is_only_bytes(gateway: Gateway, gallery: Gallery) -> None:
    gallery.answer = file(BYTES, "")
    assert (await gateway.http.get(CERTIFICATE)).headers["content-type"] == "application/octet-stream"


async def test_a_type_that_would_be_more_than_one_header_is_refused(gateway: Gateway, gallery: Gallery) -> None:
    gallery.answer = file(BYTES, "text/html\r\nset-cookie: a=b")
    gallery.stream = [file(BYTES, "text/html\r\nset-cookie: a=b")]
    for path in (CERTIFICATE, EXPORT):
        answer = await gateway.http.get(path)
        assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
        assert "set-cookie" not in answer.headers


async def test_the_head_of_a_file_says_how_long_it_is(gateway: Gateway, gallery: Gallery) -> None:
    answer = await gateway.http.head(CERTIFICATE)
    assert (answer.headers["content-length"], answer.headers["content-type"]) == ("256", "application/pdf")
    assert answer.content == b""


async def test_a_file_that_is_a_part_of_the_answer_has_the_answers_tag(gateway: Gateway, gallery: Gallery) -> None:
    gallery.answer = pb.Photograph(etag="7", file=file(BYTES, "image/png"))
    answer = await gateway.http.get(PHOTOGRAPH)
    assert (answer.content, answer.headers["content-type"], answer.headers["etag"]) == (BYTES, "image/png", '"7"')
    assert (await gateway.http.get(PHOTOGRAPH, headers={"if-none-match": '"7"'})).status_code == 304


async def test_a_refused_file_is_a_problem(gateway: Gateway, gallery: Gallery) -> None:
    gallery.refusal = errors.PermissionDenied("not this caller")
    for path in (CERTIFICATE, EXPORT):
        answer = await gateway.http.get(path)
        assert (answer.status_code, answer.headers["content-type"]) == (403, "application/problem+json")


async def test_the_chunks_of_a_stream_are_one_body_that_the_first_one_describes(
    gateway: Gateway, gallery: Gallery
) -> None:
    gallery.initial = (("http-content-disposition", "attachment"),)
    gallery.stream = [file(b"a;b\n", "text/csv"), file(b"", ""), file(b"1;2\n", "text/html"), file(BYTES, "")]
    answer = await gateway.http.get(EXPORT)
    assert answer.status_code == 200
    assert answer.content == b"a;b\n1;2\n" + BYTES
    assert answer.headers["content-type"] == "text/csv"
    assert answer.headers["content-disposition"] == "attachment"
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_a_chunk_is_sent_when_it_comes_and_nothing_in_between(gateway: Gateway, gallery: Gallery) -> None:
    gallery.stream = [file(b"a", "text/csv"), None]
    async with gateway.http.stream("GET", EXPORT, headers={"grpc-timeout": "300m"}) as answer:
        chunks = answer.aiter_raw()
        assert await anext(chunks) == b"a"
        with pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"):
            await anext(chunks)


async def test_a_stream_without_chunks_is_an_empty_file(gateway: Gateway, gallery: Gallery) -> None:
    answer = await gateway.http.get(EXPORT)
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"] == "application/octet-stream"


async def test_a_stream_that_fails_before_its_first_chunk_has_a_proper_status(
    gateway: Gateway, gallery: Gallery
) -> None:
    gallery.refusal = errors.Unavailable(part="the archive")
    answer = await gateway.http.get(EXPORT, headers={"accept": "text/csv"})
    assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
    assert answer.json()["detail"] == "the archive is out of reach for now"


@pytest.mark.parametrize("refusal", [errors.Unavailable(part="the archive"), grpc.StatusCode.INTERNAL])
async def test_a_stream_that_breaks_off_is_never_a_whole_file(
    gateway: Gateway, gallery: Gallery, refusal: errors.Error | grpc.StatusCode
) -> None:
    gallery.stream, gallery.refusal = [file(b"a;b\n", "text/csv")], refusal
    with pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"):
        await gateway.http.get(EXPORT)


async def test_a_broken_stream_ends_with_its_connection_and_without_its_last_chunk(
    gateway: Gateway, gallery: Gallery
) -> None:
    gallery.stream, gallery.refusal = [file(b"a;b\n", "text/csv")], errors.Unavailable(part="the archive")
    bearer = gateways.token("user")
    head = f"GET {EXPORT} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {bearer}\r\n\r\n"
    raw = await gateways.exchange(gateway.port, head.encode() * 2)
    assert raw.count(b"HTTP/1.1 ") == 1
    assert raw.endswith(b"\r\n\r\n4\r\na;b\n\r\n")


async def test_a_file_that_is_cut_off_is_an_ordinary_line_of_the_log(
    gateway: Gateway, gallery: Gallery, caplog: pytest.LogCaptureFixture
) -> None:
    gallery.stream, gallery.refusal = [file(b"a;b\n", "text/csv")], errors.Unavailable(part="the archive")
    with structlog.testing.capture_logs() as lines:
        with pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"):
            await gateway.http.get(EXPORT, headers={"x-request-id": "cut-1"})
        while len(mine := [line for line in lines if line.get("request_id") == "cut-1"]) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.01)  # A line sets no event.
    assert [(line["event"], line["log_level"]) for line in mine] == [("cut off", "warning"), ("request", "info")]
    assert mine[0]["reason"] == "UNAVAILABLE"
    assert [record for record in caplog.records if record.name.startswith("uvicorn")] == []


async def test_a_client_that_leaves_cancels_the_call(gateway: Gateway, gallery: Gallery) -> None:
    gallery.stream = [file(b"a", "text/csv"), None]
    async with gateway.http.stream("GET", EXPORT) as answer:
        assert await anext(answer.aiter_raw()) == b"a"
    await asyncio.wait_for(gallery.ended.wait(), 5)


async def test_the_head_of_a_streamed_file_is_not_answered(gateway: Gateway, gallery: Gallery) -> None:
    assert (await gateway.http.head(EXPORT)).status_code == 405
