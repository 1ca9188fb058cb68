"""Channels to other services: balanced over their replicas, and retried where that is safe."""

import json
from collections.abc import Iterable
from typing import Any, Final

import grpc

from kobklein import calls, contract, origins
from kobklein.settings import TlsSettings

MAX_MESSAGE_BYTES: Final = 32 * 1024 * 1024
"""Longest request that is received.

A number in free data can be two bytes of JSON and eleven here. So whatever the gateway takes, 4 MiB where the contract
allows the most, is no longer than this.
"""
MAX_ANSWER_BYTES: Final = MAX_MESSAGE_BYTES + 2 * 1024 * 1024
"""Longest answer that is received: one that repeats the longest request beside 10,000 times two balances, a time and
the name of a group. What was posted must not come to nothing on its way back."""

_MAX_METADATA_BYTES: Final = 64 * 1024
"""Longest metadata of an answer: a refusal names up to a hundred fields there, twice."""

_RETRY_POLICY: Final = {
    "maxAttempts": 4,
    "initialBackoff": "0.05s",
    "maxBackoff": "1s",
    "backoffMultiplier": 3,
    "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
}
_OPTIONS: Final = [
    ("grpc.enable_retries", 1),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.max_receive_message_length", MAX_ANSWER_BYTES),
    ("grpc.max_metadata_size", _MAX_METADATA_BYTES),
    ("grpc.absolute_max_metadata_size", _MAX_METADATA_BYTES),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
]


def channel(target: str, tls: TlsSettings | None, methods: Iterable[contract.Method] = ()) -> grpc.aio.Channel:
    """Return a channel to `target`, such as `dns:///wallets:50051`.

    Of the given methods, the channel repeats calls of those that are `repeatable`, when they end in UNAVAILABLE, or in
    CANCELLED, which a server that leaves answers to calls it received but did not begin. All other calls may have had
    their effect, and are not repeated; only gRPC itself sends a call again that never left this process. An error whose
    `repeated_by_channels` is False is not repeated either: the server says so with the refusal.
    """
    options = [("grpc.service_config", _service_config(methods)), *_OPTIONS]
    if tls is None:
        return grpc.aio.insecure_channel(target, options=options)
    credentials = grpc.ssl_channel_credentials(
        root_certificates=tls.authority_file.read_bytes(),
        private_key=tls.key_file.read_bytes(),
        certificate_chain=tls.certificate_file.read_bytes(),
    )
    return grpc.aio.secure_channel(target, credentials, options=options)


def _service_config(methods: Iterable[contract.Method]) -> str:
    names = [
        {"service": method.descriptor.containing_service.full_name, "method": method.descriptor.name}
        for method in methods
        if method.repeatable
    ]
    config: dict[str, Any] = {"loadBalancingConfig": [{"round_robin": {}}]}
    if names:
        config["methodConfig"] = [{"name": names, "retryPolicy": _RETRY_POLICY}]
    return json.dumps(config)


def metadata(token: str) -> tuple[tuple[str, str], ...]:
    """Return the metadata of a call made in this process's own name.

    It has the process's token, which request the call goes back to, and the client of the call that is served.
    """
    origin, call = origins.current(), calls.find()
    return (
        ("authorization", f"Bearer {token}"),
        *(origin.metadata if origin is not None else ()),
        *(((calls.CLIENT_ADDRESS, call.client),) if call is not None and call.client else ()),
    )
