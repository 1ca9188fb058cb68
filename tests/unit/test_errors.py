"""Errors travel as `google.rpc.Status` and arrive whole."""

import grpc
import pytest
from google.rpc import error_details_pb2

from kobklein import errors


class WalletTooSmall(errors.Error):
    code = grpc.StatusCode.FAILED_PRECONDITION
    message = "wallet {wallet} is too small"
    http_status = 409


def test_an_error_fills_its_message_and_metadata() -> None:
    error = WalletTooSmall(wallet=7)
    assert str(error) == "wallet 7 is too small"
    assert error.reason == "WALLET_TOO_SMALL"
    assert error.metadata == {"wallet": "7"}


def test_a_status_brings_reason_metadata_and_http_status() -> None:
    assert errors.from_status(errors.to_status(WalletTooSmall(wallet=7))) == errors.Status(
        code=grpc.StatusCode.FAILED_PRECONDITION,
        message="wallet 7 is too small",
        reason="WALLET_TOO_SMALL",
        metadata={"wallet": "7"},
        http_status=409,
    )


def test_what_others_say_of_an_error_is_not_taken_for_ours() -> None:
    status = errors.to_status(errors.EtagMismatch(etag="8"))
    info = error_details_pb2.ErrorInfo(reason="QUOTA", domain="example.com", metadata={"http_status": "200", "a": "b"})
    status.details[0].Pack(info)
    read = errors.from_status(status)
    assert (read.reason, read.metadata, read.http_status) == ("", {}, 400)


def test_a_status_brings_every_violation() -> None:
    wrong = (errors.Violation("amount", "is required"), errors.Violation("currency", "is unknown"))
    status = errors.from_status(errors.to_status(errors.InvalidArgument(*wrong)))
    assert status.violations == wrong
    assert status.message == "amount: is required; currency: is unknown"


def test_a_message_with_braces_in_it_arrives_as_it_is() -> None:
    assert str(errors.InvalidArgument.of("metadata", "has {odd} braces")) == "metadata: has {odd} braces"


def test_a_status_brings_when_to_try_again() -> None:
    assert errors.from_status(errors.to_status(errors.RateLimited(retry_after_seconds=9))).retry_after_seconds == 9


@pytest.mark.parametrize(
    ("code", "http_status"),
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
        (grpc.StatusCode.INTERNAL, 500),
        (grpc.StatusCode.UNKNOWN, 500),
        (grpc.StatusCode.DATA_LOSS, 500),
        (grpc.StatusCode.UNIMPLEMENTED, 501),
        (grpc.StatusCode.UNAVAILABLE, 503),
        (grpc.StatusCode.DEADLINE_EXCEEDED, 504),
    ],
)
def test_every_code_has_its_http_status(code: grpc.StatusCode, http_status: int) -> None:
    assert errors.HTTP_STATUS.get(code, 500) == http_status


def test_an_unforeseen_error_tells_nothing() -> None:
    status = errors.from_status(errors.internal_status())
    assert (status.code, status.message, status.reason) == (grpc.StatusCode.INTERNAL, "internal error", "")
