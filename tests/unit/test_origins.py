"""Which request work goes back to, in log lines and in calls to other services."""

import uuid

import structlog

from kobklein import client, origins
from kobklein.origins import Origin

TRACE = (("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), ("tracestate", "a=b"))


def test_a_call_to_another_service_has_the_id_and_the_trace_of_the_request_that_it_serves() -> None:
    assert client.metadata("t") == (("authorization", "Bearer t"),)
    with origins.scope(Origin("r", TRACE)):
        assert client.metadata("t") == (("authorization", "Bearer t"), ("x-request-id", "r"), *TRACE)
        bound = structlog.contextvars.get_contextvars()
        assert {name: bound[name] for name in ("request_id", "traceparent")} == {
            "request_id": "r",
            "traceparent": TRACE[0][1],
        }
    assert client.metadata("t") == (("authorization", "Bearer t"),)
    assert "request_id" not in structlog.contextvars.get_contextvars()


def test_a_call_for_several_requests_names_as_many_as_its_id_has_room_for() -> None:
    assert origins.joined([Origin("a", TRACE), Origin("a", TRACE)]) == Origin("a", TRACE)
    assert origins.joined([Origin("a", TRACE), Origin("b")]) == Origin("a,b")
    many = [str(uuid.uuid4()) for _ in range(500)]
    ids = origins.joined(map(Origin, many)).request_id
    assert len(ids) <= origins.MAX_JOINED_LENGTH < len(ids) + 38
    assert ids.split(",") == many[: ids.count(",") + 1]


def test_an_id_or_a_trace_that_no_line_of_a_log_should_have_is_not_taken() -> None:
    assert origins.given({"x-request-id": "r", **dict(TRACE)}) == Origin("r", TRACE)
    for unusable in ("", "x" * 129, "a\nb"):
        assert origins.given({"x-request-id": unusable}) is None
    assert origins.given({"x-request-id": "x" * 4096}, longest=origins.MAX_JOINED_LENGTH) == Origin("x" * 4096)
    assert origins.trace({"traceparent": "a\nb", "tracestate": "x" * 1025}) == ()
    assert origins.trace({"traceparent": "00-x subject=admin-1 code=OK", "tracestate": "a=b"}) == ()


def test_what_made_something_due_is_remembered_for_a_while() -> None:
    memory, first, unknown = origins.Memory(), uuid.uuid4(), uuid.uuid4()
    memory.note(unknown)
    with origins.scope(Origin("r")):
        memory.note(first)
        assert memory.of(first) == Origin("r")
        for _ in range(10_000):
            memory.note(uuid.uuid4())
    assert memory.of(first) == Origin(str(first))
    assert memory.of(unknown) == Origin(str(unknown))
