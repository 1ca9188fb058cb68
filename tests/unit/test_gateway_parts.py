"""Small parts of the gateway: names, problems, addresses, bindings, settings."""

import ipaddress
import itertools
from collections.abc import Sequence
from typing import Any

import pydantic
import pytest
from google.api import http_pb2, httpbody_pb2
from google.protobuf import descriptor_pb2, descriptor_pool
from starlette.exceptions import HTTPException

from gateway import addresses, bindings, comments, files, names, problems, reader, streams, writer
from kobklein import contract, enums, errors
from kobklein.options.v1 import options_pb2
from kobklein.payments.v1 import payments_pb2
from kobklein.wallets.v1 import ledger_pb2
from tests import gateways
from tests.gateways import gallery_pb2 as pb

UPDATE = payments_pb2.UpdatePaymentRequest.DESCRIPTOR
_numbers = itertools.count()
TRUSTED = (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("::1/128"))


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("payment.description", "description"),
        ("payment.next_action.redirect_url", "nextAction.redirectUrl"),
        ("payment.metadata.some_key.other", "metadata.some_key.other"),
        ("payment.made_up", "made_up"),
        ("payment", "body"),
        ("update_mask", "updateMask"),
        ("made_up.payment", "made_up.payment"),
        ("Idempotency-Key", "Idempotency-Key"),
        ("payment." + "x" * 300, "x" * 200 + "…"),
        ("\ud800", "\\ud800"),
    ],
)
def test_a_path_is_shown_in_the_names_of_the_client(path: str, shown: str) -> None:
    assert names.client_path(path, UPDATE, body_field="payment") == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("is required with releases_hold", "is required with releasesHold"),
        ("is before effective_time, dry_run", "is before effectiveTime, dryRun"),
        ("'reverses_id' cannot be updated", "'reversesId' cannot be updated"),
        ("No such PaymentMethod: pm_card_visa", "No such PaymentMethod: pm_card_visa"),
        ("is less than xreverses_id or reverses_id_", "is less than xreverses_id or reverses_id_"),
    ],
)
def test_what_is_said_of_a_request_names_its_fields_as_the_client_does(text: str, shown: str) -> None:
    assert names.client_text(text, ledger_pb2.PostTransfersRequest.DESCRIPTOR) == shown


def test_enum_names_lose_their_prefix_and_what_is_unspecified() -> None:
    assert enums.numbers(pb.PaintingStyle.DESCRIPTOR) == {"OIL": 1, "WATER_COLOUR": 2}
    assert enums.names(pb.Everything.Depth.DESCRIPTOR) == {1: "SHALLOW"}


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (HTTPException(404), 404, "NOT_FOUND"),
        (problems.Refused(415, "no"), 415, "UNSUPPORTED_MEDIA_TYPE"),
        (errors.IdempotencyKeyReused(), 422, "IDEMPOTENCY_KEY_REUSED"),
        (errors.IdempotencyKeyInUse(), 409, "IDEMPOTENCY_KEY_IN_USE"),
        (errors.Unauthenticated(), 401, "UNAUTHENTICATED"),
        (RuntimeError("secret"), 500, "INTERNAL_SERVER_ERROR"),
    ],
)
def test_every_error_is_a_problem_and_no_surprise_tells_its_detail(error: Exception, status: int, reason: str) -> None:
    problem = problems.of(error)
    assert (problem.status, problem.reason) == (status, reason)
    assert "secret" not in problem.detail


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("1.2.3.4", ["5.6.7.8"], "1.2.3.4"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["5.6.7.8"], "5.6.7.8"),
        ("10.0.0.1", ["9.9.9.9, 5.6.7.8"], "5.6.7.8"),
        ("10.0.0.1", ["9.9.9.9", "5.6.7.8, 10.0.0.2"], "5.6.7.8"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", ["9.9.9.9, nonsense, 10.0.0.2"], "10.0.0.2"),
        ("::1", ["2001:db8::1"], "2001:db8::1"),
        ("10.0.0.1", ["5.6.7.8:5555"], "5.6.7.8"),
        ("10.0.0.1", ["[2001:db8::1]:5"], "2001:db8::1"),
        ("10.0.0.1", ["5.6.7.8, ::ffff:10.0.0.2"], "5.6.7.8"),
        ("10.0.0.1", ["2001:db8::1%a b"], "10.0.0.1"),
    ],
)
def test_only_trusted_proxies_say_where_a_client_is(peer: str, forwarded: list[str], address: str) -> None:
    headers = [(b"x-forwarded-for", value.encode()) for value in forwarded]
    assert addresses.of({"client": (peer, 1), "headers": headers}, TRUSTED) == address
    assert addresses.of({"client": (peer, 1), "headers": headers}, ()) == peer


def test_comments_of_every_kind_of_element_are_found() -> None:
    texts = comments.load(gateways.DESCRIPTORS)
    assert texts["gallery.v1.GalleryService"] == "Keeps paintings."
    assert comments.paragraphs(texts["gallery.v1.GalleryService.GetPainting"]) == (
        "Get a painting",
        "By its id alone, or with its artist.",
    )
    assert texts["gallery.v1.Everything.Depth.DEPTH_SHALLOW"] == "Not deep."
    assert texts["gallery.v1.Artist.full_name"] == "Their name."
    assert comments.load(gateways.DESCRIPTORS.parent / "missing") == {}


def bound(
    rule: http_pb2.HttpRule,
    *,
    takes: str = "gallery.v1.UpdatePaintingRequest",
    answers: str = "gallery.v1.Painting",
    media_types: Sequence[str] = (),
    client_streaming: bool = False,
    server_streaming: bool = False,
) -> Any:
    """Return the bindings of a method on the gallery's messages."""
    pool = descriptor_pool.Default()
    file = descriptor_pb2.FileDescriptorProto(name=f"rule{next(_numbers)}.proto", syntax="proto3")
    file.package = file.name.removesuffix(".proto")
    file.dependency.append("gallery/v1/gallery.proto")
    service = file.service.add(name="Service")
    method = service.method.add(
        name="Method", input_type=f".{takes}", output_type=f".{answers}",
        client_streaming=client_streaming, server_streaming=server_streaming,
    )  # fmt: skip
    template = pool.FindMethodByName("gallery.v1.GalleryService.GetNewest").GetOptions()
    method.options.MergeFromString(template.SerializeToString())
    http = pool.FindExtensionByName("google.api.http")
    method.options.ClearExtension(http)
    method.options.Extensions[http].CopyFrom(rule)
    method.options.Extensions[options_pb2.method].media_types.extend(media_types)
    pool.AddSerializedFile(file.SerializeToString())
    return bindings.of(contract.methods([f"{file.package}.Service"]).values())


@pytest.mark.parametrize(
    "rule",
    [
        http_pb2.HttpRule(get="/a/{missing}"),
        http_pb2.HttpRule(get="/a/{painting}"),
        http_pb2.HttpRule(get="/a/{painting.tags}"),
        http_pb2.HttpRule(get="/a/{id"),
        http_pb2.HttpRule(get="/a", body="painting"),
        http_pb2.HttpRule(post="/a", body="missing"),
        http_pb2.HttpRule(post="/a", response_body="missing"),
        http_pb2.HttpRule(body="*"),
    ],
)
def test_an_annotation_that_does_not_fit_stops_the_start(rule: http_pb2.HttpRule) -> None:
    with pytest.raises(ValueError, match=r"Method: its HTTP annotation does not fit"):
        bound(rule)


def test_a_client_cannot_stream_and_a_stream_shows_whole_messages() -> None:
    with pytest.raises(ValueError, match="cannot stream"):
        bound(http_pb2.HttpRule(post="/a", body="*"), client_streaming=True)
    with pytest.raises(ValueError, match="whole messages"):
        bound(http_pb2.HttpRule(get="/a", response_body="tags"), server_streaming=True)


def test_messages_of_a_stream_are_objects_so_that_a_line_that_is_none_can_end_it() -> None:
    for answers in ("google.protobuf.ListValue", "google.protobuf.Value", "google.protobuf.Timestamp"):
        with pytest.raises(ValueError, match=f"JSON objects, which a {answers} is not"):
            bound(http_pb2.HttpRule(get="/a"), answers=answers, server_streaming=True)
    for answers in ("google.protobuf.Struct", "google.protobuf.Empty"):
        assert bound(http_pb2.HttpRule(get="/a"), answers=answers, server_streaming=True)


def test_a_map_that_a_query_cannot_give_stops_the_start() -> None:
    with pytest.raises(
        ValueError, match=r"cannot give gallery\.v1\.Everything\.counts, which is no map of text by text"
    ):
        bound(http_pb2.HttpRule(get="/a"), takes="gallery.v1.Everything")
    assert bound(http_pb2.HttpRule(post="/a", body="*"), takes="gallery.v1.Everything")
    assert bound(http_pb2.HttpRule(get="/a"), takes="gallery.v1.SearchRequest")


def test_a_path_cannot_fill_a_map() -> None:
    with pytest.raises(ValueError, match="cannot fill the repeated field marks"):
        bound(http_pb2.HttpRule(get="/a/{marks}"), takes="gallery.v1.SearchRequest")


@pytest.mark.parametrize("media_type", ["", "pdf", "*/*", "text/html; charset=utf-8", "Text/HTML", "text/a\r\nb"])
def test_what_is_no_media_type_stops_the_start(media_type: str) -> None:
    with pytest.raises(ValueError, match="is no media type"):
        bound(http_pb2.HttpRule(get="/a"), answers="google.api.HttpBody", media_types=["text/*", media_type])


def test_media_types_of_an_answer_in_json_stop_the_start() -> None:
    with pytest.raises(ValueError, match="it answers in JSON, and not in text/csv"):
        bound(http_pb2.HttpRule(get="/a"), media_types=["text/csv"])
    with pytest.raises(ValueError, match="it answers in JSON"):
        bound(http_pb2.HttpRule(get="/a", response_body="etag"), answers="gallery.v1.Photograph", media_types=["a/b"])


def test_a_raw_body_is_no_part_of_json() -> None:
    with pytest.raises(TypeError, match=r"google\.api\.HttpBody is a whole answer"):
        writer.shown(pb.Photograph.DESCRIPTOR)
    with pytest.raises(TypeError, match=r"google\.api\.HttpBody is a whole answer"):
        reader.of(httpbody_pb2.HttpBody.DESCRIPTOR)


def test_a_file_is_described_by_its_type_and_by_the_headers_that_its_service_may_set() -> None:
    metadata = [("http-content-disposition", "attachment"), ("http-set-cookie", "a=b"), ("content-language", "ht")]
    assert files.headers("text/csv; charset=utf-8", metadata) == [
        (b"content-type", b"text/csv; charset=utf-8"),
        (b"content-disposition", b"attachment"),
    ]
    assert files.headers("", []) == [(b"content-type", b"application/octet-stream")]


@pytest.mark.parametrize(
    "content_type", ["pdf", "a/b\r\nset-cookie: a=b", "a/b\n", "a/b; c=é", "a/b c", "a/" + "b" * 255]
)
def test_a_content_type_that_is_none_is_the_services_mistake(content_type: str) -> None:
    with pytest.raises(ValueError, match="gave a content type that is none"):
        files.headers(content_type, [])


@pytest.mark.parametrize("value", ["", "a\r\nset-cookie: a=b", "a\n", "a\0", "é", b"a", "a" * 1025])
def test_a_header_that_is_none_is_the_services_mistake(value: str | bytes) -> None:
    with pytest.raises(ValueError, match="gave a http-content-disposition that is no header, or more than one"):
        files.headers("a/b", [("http-content-disposition", value)])


def test_a_header_that_comes_twice_is_the_services_mistake() -> None:
    with pytest.raises(ValueError, match="more than one"):
        files.headers("a/b", [("http-last-modified", "a"), ("http-last-modified", "a")])


@pytest.mark.parametrize(
    ("cursor", "frame"),
    [
        (None, b"id: 1\ndata: {}\n\n"),
        ("a:b", b"id: a:b\ndata: {}\n\n"),
        ("é", b"id: \xc3\xa9\ndata: {}\n\n"),
        ("", b"data: {}\n\n"),
        ("a\ndata: x", b"data: {}\n\n"),
        ("a\rb", b"data: {}\n\n"),
        ("a\0b", b"data: {}\n\n"),
    ],
)
def test_a_cursor_is_an_event_id_if_one_can_hold_it(cursor: str | None, frame: bytes) -> None:
    assert streams.Events(resumable=True).message(b"{}", cursor) == frame


def test_metadata_of_an_error_is_for_clients_only_where_it_was_meant_for_them() -> None:
    taken = problems.of(errors.Unavailable(part="the ledger"))
    assert taken.document(instance="/", request_id="1")["metadata"] == {"part": "the ledger"}
    assert problems.of(errors.Error(address="10.0.0.1")).metadata == {}
    assert "metadata" not in problems.of(errors.PermissionDenied("not this caller")).document(
        instance="/", request_id="1"
    )


def test_a_production_gateway_needs_tls_and_hides_what_is_not_for_clients() -> None:
    with pytest.raises(pydantic.ValidationError, match=r"tls__certificate_file, .* are needed in production"):
        gateways.settings(environment="production")
    files = {"certificate_file": "c", "key_file": "k", "authority_file": "a"}
    strict = gateways.settings(environment="production", tls=files)
    assert (strict.shows_docs, strict.shows_metrics, strict.demands_https) == (False, False, True)
    assert gateways.settings(environment="production", tls=files, metrics=True).shows_metrics


def test_a_certificate_goes_with_its_key() -> None:
    with pytest.raises(pydantic.ValidationError, match="go together"):
        gateways.settings(https_key_file="k")
