"""The ports of `make run`: those that variables name, else the usual ones, else free ones, and that is said."""

import contextlib
import os
import socket
from collections.abc import Mapping
from typing import Final

from deploy.local import postgres

PREFERRED: Final = {
    "gateway": 8080,
    "payments": 50051,
    "wallets": 50052,
    "payments_metrics": 50061,
    "wallets_metrics": 50062,
    "sandbox": 12111,
}
"""Ports that are taken while they are free, so that addresses stay the same from start to start."""


class PortError(ValueError):
    """A port that a variable names cannot be had."""


def wanted(environment: Mapping[str, str] = os.environ) -> dict[str, int]:
    """Return the ports that `GATEWAY_PORT` and its like name; raises PortError."""
    return {
        name: _number(f"{name.upper()}_PORT", text)
        for name in PREFERRED
        if (text := environment.get(f"{name.upper()}_PORT"))
    }


def chosen(wanted: Mapping[str, int]) -> tuple[dict[str, int], list[str]]:
    """Return a port for each name of PREFERRED, and a sentence for each that is not the usual one; raises PortError."""
    ports, sentences = {}, []
    for name, usual in PREFERRED.items():
        port = wanted.get(name, usual)
        if not _free(port):
            if name in wanted:
                raise PortError(f"{name.upper()}_PORT={port}: this port is taken by another process")
            port = postgres.free_port()
            sentences.append(f"{usual} is taken, using {port} for {name.replace('_', ' ')}")
        ports[name] = port or postgres.free_port()
    return ports, sentences


def _number(variable: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= 65535):
        raise PortError(f"{variable}={text}: must be a port, 0 to 65535 (0 is any free one)")
    return int(text)


def _free(port: int) -> bool:
    with socket.socket() as probe, contextlib.suppress(OSError):
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))
        return True
    return False
