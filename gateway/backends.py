"""The services behind the gateway: which of the contract's services live where."""

import dataclasses
import importlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import grpc
from google.protobuf import descriptor

from kobklein import contract


@dataclasses.dataclass(frozen=True, slots=True)
class Backend:
    """One process, or its replicas, that serves every service of a package of the contract."""

    name: str
    channel: grpc.aio.Channel
    methods: Mapping[str, contract.Method]


def of_package(name: str, package: str, channel: grpc.aio.Channel) -> Backend:
    """Return the backend for every service that the generated code under `package` declares."""
    return Backend(name, channel, methods_of(package))


def methods_of(package: str) -> Mapping[str, contract.Method]:
    """Return the methods of every service that the generated code under `package` declares, by their paths."""
    services = [service.full_name for file in _files(package) for service in file.services_by_name.values()]
    return contract.methods(services)


def _files(package: str) -> Iterator[descriptor.FileDescriptor]:
    """Yield the files of the contract under a package; its folders are namespaces, so only the disk knows them."""
    for root in map(Path, importlib.import_module(package).__path__):
        for file in sorted(root.rglob("*_pb2.py")):
            module = ".".join((package, *file.relative_to(root).with_suffix("").parts))
            yield importlib.import_module(module).DESCRIPTOR
