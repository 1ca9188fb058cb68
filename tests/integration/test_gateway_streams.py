"""Server streams over HTTP: lines of JSON, server-sent events, and their ends."""

import asyncio
import json

import grpc
import pytest

from kobklein import errors
from tests import gateways
from tests.gateways import Gallery, Gateway
from tests.gateways import gallery_pb2 as pb

WATCH = "/v1/paintings/1:watch"
FOLLOW = "/v1/sales:follow"
SSE = {"accept": "text/event-stream"}
SEA, SKY = pb.Painting(title="Sea"), pb.Painting(title="Sky")


@pytest.fixture
def gallery(served: tuple[Gateway, Gallery]) -> Gallery:
    served[1].refusal = None
    served[1].stream = []
    served[1].initial = ()
    served[1].received.clear()
    served[1].held.clear()
    served[1].ended.clear()
    return served[1]


async def test_a_stream_is_one_object_a_line(gateway: Gateway, gallery: Gallery) -> None:
    gallery.stream = [SEA, SKY]
    answer = await gateway.http.get(WATCH)
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert [json.loads(line)["title"] for line in answer.text.splitlines()] == ["Sea", "Sky"]


async def test_a_stream_is_numbered_events_where_the_client_asks_for_them(gateway: Gateway, gallery: Gallery) -> None:
    gallery.stream = [SEA, SKY]
    answer = await gateway.http.get(WATCH, headers={"accept": "text/html, Text/Event-Stream;q=0.9"})
    events = answer.text.split("\n\n")
    assert answer.headers["content-type"] == "text/event-stream"
    assert [event.partition("\n")[0] for event in events] == ["id: 1", "id: 2", "event: end", ""]
    assert json.loads(events[0].partition("data: ")[2])["title"] == "Sea"


async def test_an_empty_stream_is_an_empty_success(gateway: Gateway, gallery: Gallery) -> None:
    answer = await gateway.http.get(WATCH)
    assert (answer.status_code, answer.content) == (200, b"")


async def test_a_stream_that_is_refused_at_once_has_a_proper_status(gateway: Gateway, gallery: Gallery) -> None:
    gallery.refusal = grpc.StatusCode.NOT_FOUND
    answer = await gateway.http.get(WATCH)
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


async def test_a_stream_that_breaks_off_says_so_last(gateway: Gateway, gallery: Gallery) -> None:
    gallery.stream, gallery.refusal = [SEA], errors.Unavailable(part="the easel")
    mark, problem = json.loads((await gateway.http.get(WATCH)).text.splitlines()[1])
    assert (mark, problem["detail"]) == ("problem", "the easel is out of reach for now")
    events = (await gateway.http.get(WATCH, headers=SSE)).text.split("\n\n")
    assert events[1].startswith('event: problem\ndata: {"type":"urn:kobklein:problem:unavailable"')


async def test_a_message_with_a_field_error_is_a_message_like_any_other(gateway: Gateway, gallery: Gallery) -> None:
    gallery.stream, gallery.refusal = [pb.Sale(cursor="a1", error="torn")], errors.Unavailable(part="the till")
    sale = {"cursor": "a1", "title": "", "error": "torn"}
    message, last = [json.loads(line) for line in (await gateway.http.get(FOLLOW)).text.splitlines()]
    assert (message, type(last), last[0]) == (sale, list, "problem")
    events = (await gateway.http.get(FOLLOW, headers=SSE)).text.split("\n\n")
    assert events[0] == 'id: a1\ndata: {"cursor":"a1","title":"","error":"torn"}'
    assert events[1].startswith("event: problem\n")


async def test_no_heartbeat_gets_into_a_busy_stream(gateway: Gateway, gallery: Gallery) -> None:
    gallery.stream = [pb.Sale(cursor=str(number), title="x" * 5000) for number in range(3000)]
    events = (await gateway.http.get(FOLLOW, headers=SSE)).text.split("\n\n")
    said = [event for event in events if event not in ("", ": still here")]
    assert [event.partition("\n")[0] for event in said] == [f"id: {number}" for number in range(3000)]


async def test_a_quiet_stream_sends_heartbeats(gateway: Gateway, gallery: Gallery) -> None:
    gallery.stream = [None]
    async with gateway.http.stream("GET", WATCH, headers=SSE) as answer:
        async for text in answer.aiter_text():
            assert text == ": still here\n\n"
            break


async def test_a_client_that_leaves_cancels_the_call(gateway: Gateway, gallery: Gallery) -> None:
    gallery.stream = [SEA, None]
    async with gateway.http.stream("GET", WATCH) as answer:
        async for line in answer.aiter_lines():
            assert json.loads(line)["title"] == "Sea"
            break
    await asyncio.wait_for(gallery.ended.wait(), 5)


async def test_a_stream_ends_with_its_deadline(gateway: Gateway, gallery: Gallery) -> None:
    gallery.stream = [SEA, None]
    lines = (await gateway.http.get(WATCH, headers={"grpc-timeout": "200m"})).text.splitlines()
    mark, problem = json.loads(lines[1])
    assert (mark, problem["status"]) == ("problem", 504)


@pytest.mark.parametrize("headers", [{}, SSE], ids=["lines", "events"])
async def test_a_stream_that_can_be_resumed_just_ends_with_its_deadline(
    gateway: Gateway, gallery: Gallery, headers: dict[str, str]
) -> None:
    gallery.stream = [pb.Sale(cursor="a1", title="Sea"), None]
    answer = await gateway.http.get(FOLLOW, headers={"grpc-timeout": "200m", **headers})
    said = [text for text in answer.text.split("\n") if text not in ("", ": still here")]
    if headers:
        assert said == ["id: a1", 'data: {"cursor":"a1","title":"Sea"}']
    else:
        assert said == ['{"cursor":"a1","title":"Sea"}']


async def test_a_stream_that_can_be_resumed_says_why_it_broke_off(gateway: Gateway, gallery: Gallery) -> None:
    gallery.stream, gallery.refusal = [pb.Sale(cursor="a1")], errors.Unauthenticated()
    events = (await gateway.http.get(FOLLOW, headers=SSE)).text.split("\n\n")
    assert events[1].startswith("event: problem\ndata: {")
    assert json.loads(events[1].partition("data: ")[2])["status"] == 401


@pytest.mark.parametrize("headers", [{}, SSE], ids=["lines", "events"])
async def test_a_stream_that_can_be_resumed_says_at_once_where_it_starts(
    gallery: Gallery, headers: dict[str, str]
) -> None:
    gallery.stream = [pb.Sale(cursor="a0"), None]
    async with (
        gateways.serving("gallery", gallery.add_to, heartbeat_seconds=3600) as patient,
        patient.http.stream("GET", FOLLOW, headers=headers, timeout=60) as answer,
    ):
        assert answer.status_code == 200
        assert answer.headers["content-type"] in ("application/x-ndjson", "text/event-stream")
        first = await anext(answer.aiter_text())
    assert first == ("id: a0\n\n" if headers else '{"cursor":"a0","title":""}\n')


async def test_the_id_of_an_event_is_its_cursor(gateway: Gateway, gallery: Gallery) -> None:
    sun = pb.Sale(cursor="x\ndata: y", title="Sun")
    gallery.stream = [pb.Sale(cursor="a1", title="Sea"), pb.Sale(title="Sky"), sun, pb.Sale(cursor="\n")]
    events = (await gateway.http.get(FOLLOW, headers=SSE)).text.split("\n\n")
    assert events == [
        'id: a1\ndata: {"cursor":"a1","title":"Sea"}',
        'data: {"cursor":"","title":"Sky"}',
        'data: {"cursor":"x\\ndata: y","title":"Sun"}',
        "",
    ]
    lines = (await gateway.http.get(FOLLOW)).text.splitlines()
    assert json.loads(lines[0]) == {"cursor": "a1", "title": "Sea"}


@pytest.mark.parametrize(
    ("query", "header", "cursor"),
    [
        ("", "a1", "a1"),
        ("", "é", "é"),
        ("", "", ""),
        ("?cursor=b2", "a1", "a1"),
        ("?cursor=b2", "", "b2"),
        ("?cursor=b2", None, "b2"),
    ],
)
async def test_a_client_that_reconnects_goes_on_after_the_last_event_it_saw(
    gateway: Gateway, gallery: Gallery, query: str, header: str | None, cursor: str
) -> None:
    headers = {"last-event-id": header.encode()} if header is not None else {}
    answer = await gateway.http.get(FOLLOW + query, headers={**SSE, **headers})
    assert answer.status_code == 200
    assert gallery.received == [pb.FollowSalesRequest(cursor=cursor)]


async def test_a_last_event_that_is_no_text_or_not_one_is_refused(gateway: Gateway, gallery: Gallery) -> None:
    broken = await gateway.http.get(FOLLOW, headers={"last-event-id": b"\xff"})
    twice = await gateway.http.get(FOLLOW, headers=[("last-event-id", "a"), ("last-event-id", "b")])
    assert broken.json()["errors"] == [{"field": "Last-Event-ID", "detail": "is not UTF-8"}]
    assert twice.json()["errors"] == [{"field": "Last-Event-Id", "detail": "is given more than once"}]


async def test_the_last_event_of_a_stream_without_cursors_means_nothing(gateway: Gateway, gallery: Gallery) -> None:
    await gateway.http.get(WATCH, headers={"last-event-id": "2"})
    assert gallery.received == [pb.GetPaintingRequest(id="1")]
