"""Small parts of the gateway: names, problems, addresses, bindings, settings."""

import ipaddress
from typing import Any

import pydantic
import pytest
from google.api import http_pb2
from google.protobuf import descriptor_pb2, descriptor_pool
from starlette.exceptions import HTTPException

from gateway import bindings, callers, comments, names, problems
from kobklein import contract, errors
from kobklein.payments.v1 import payments_pb2
from tests import gateways
from tests.gateways import gallery_pb2 as pb

UPDATE = payments_pb2.UpdatePaymentRequest.DESCRIPTOR
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


def test_enum_names_lose_their_prefix_and_what_is_unspecified() -> None:
    assert names.enum_values(pb.PaintingStyle.DESCRIPTOR) == {"OIL": 1, "WATER_COLOUR": 2}
    assert names.enum_names(pb.Everything.Depth.DESCRIPTOR) == {1: "SHALLOW"}


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
    ],
)
def test_only_trusted_proxies_say_where_a_client_is(peer: str, forwarded: list[str], address: str) -> None:
    headers = [(b"x-forwarded-for", value.encode()) for value in forwarded]
    assert callers.address({"client": (peer, 1), "headers": headers}, TRUSTED) == address
    assert callers.address({"client": (peer, 1), "headers": headers}, ()) == peer


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


def bound(rule: http_pb2.HttpRule, *, client_streaming: bool = False, server_streaming: bool = False) -> Any:
    """Return the bindings of a method on the gallery's messages."""
    pool = descriptor_pool.Default()
    file = descriptor_pb2.FileDescriptorProto(
        name=f"rule{abs(hash((rule.SerializeToString(), client_streaming, server_streaming)))}.proto", syntax="proto3"
    )
    file.package = file.name.removesuffix(".proto")
    file.dependency.append("gallery/v1/gallery.proto")
    service = file.service.add(name="Service")
    method = service.method.add(
        name="Method", input_type=".gallery.v1.UpdatePaintingRequest", output_type=".gallery.v1.Painting",
        client_streaming=client_streaming, server_streaming=server_streaming,
    )  # fmt: skip
    template = pool.FindMethodByName("gallery.v1.GalleryService.GetNewest").GetOptions()
    method.options.MergeFromString(template.SerializeToString())
    http = pool.FindExtensionByName("google.api.http")
    method.options.ClearExtension(http)
    method.options.Extensions[http].CopyFrom(rule)
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


def test_a_production_gateway_needs_tls_and_hides_what_is_not_for_clients() -> None:
    with pytest.raises(pydantic.ValidationError, match="tls is needed in production"):
        gateways.settings(environment="production")
    files = {"certificate_file": "c", "key_file": "k", "authority_file": "a"}
    strict = gateways.settings(environment="production", tls=files)
    assert (strict.shows_docs, strict.shows_metrics, strict.demands_https) == (False, False, True)
    assert gateways.settings(environment="production", tls=files, metrics=True).shows_metrics


def test_a_certificate_goes_with_its_key() -> None:
    with pytest.raises(pydantic.ValidationError, match="go together"):
        gateways.settings(https_key_file="k")
