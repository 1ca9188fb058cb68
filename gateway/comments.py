"""The comments of the protos, which generated code does not carry but the descriptor set beside it does."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from google.protobuf import descriptor_pb2

import kobklein

CONTRACT: Final = Path(kobklein.__file__).parent / "contract.binpb"
"""Where code generation leaves the contract with its comments."""

_MESSAGES: Final = descriptor_pb2.FileDescriptorProto.MESSAGE_TYPE_FIELD_NUMBER
_ENUMS: Final = descriptor_pb2.FileDescriptorProto.ENUM_TYPE_FIELD_NUMBER
_SERVICES: Final = descriptor_pb2.FileDescriptorProto.SERVICE_FIELD_NUMBER
_FIELDS: Final = descriptor_pb2.DescriptorProto.FIELD_FIELD_NUMBER
_NESTED_MESSAGES: Final = descriptor_pb2.DescriptorProto.NESTED_TYPE_FIELD_NUMBER
_NESTED_ENUMS: Final = descriptor_pb2.DescriptorProto.ENUM_TYPE_FIELD_NUMBER
_VALUES: Final = descriptor_pb2.EnumDescriptorProto.VALUE_FIELD_NUMBER
_METHODS: Final = descriptor_pb2.ServiceDescriptorProto.METHOD_FIELD_NUMBER

Place = tuple[int, ...]
"""Where an element stands in its file: numbers of fields and indexes, in turn."""


def load(file: Path = CONTRACT) -> Mapping[str, str]:
    """Return the comment of each element of a descriptor set by its full name; empty if the file is missing."""
    if not file.exists():
        return {}
    contract = descriptor_pb2.FileDescriptorSet.FromString(file.read_bytes())
    return {name: text for one in contract.file for name, text in _of_file(one)}


def paragraphs(comment: str) -> tuple[str, str]:
    """Return the first paragraph of a comment, and the rest, with lines joined."""
    first, _, rest = comment.strip().partition("\n\n")
    return _joined(first), "\n\n".join(map(_joined, rest.split("\n\n"))) if rest else ""


def _joined(paragraph: str) -> str:
    return " ".join(line.strip() for line in paragraph.splitlines())


def _of_file(file: descriptor_pb2.FileDescriptorProto) -> Iterator[tuple[str, str]]:
    names = dict(_names(file))
    for location in file.source_code_info.location:
        name = names.get(tuple(location.path))
        if name is not None and location.leading_comments:
            yield name, location.leading_comments.strip()


def _names(file: descriptor_pb2.FileDescriptorProto) -> Iterator[tuple[Place, str]]:
    yield from _of_messages(file.message_type, (_MESSAGES,), file.package)
    yield from _of_enums(file.enum_type, (_ENUMS,), file.package)
    for index, service in enumerate(file.service):
        path, name = (_SERVICES, index), f"{file.package}.{service.name}"
        yield path, name
        yield from (((*path, _METHODS, at), f"{name}.{method.name}") for at, method in enumerate(service.method))


def _of_messages(
    messages: Iterable[descriptor_pb2.DescriptorProto], parent: Place, scope: str
) -> Iterator[tuple[Place, str]]:
    for index, message in enumerate(messages):
        path, name = (*parent, index), f"{scope}.{message.name}"
        yield path, name
        yield from (((*path, _FIELDS, at), f"{name}.{field.name}") for at, field in enumerate(message.field))
        yield from _of_messages(message.nested_type, (*path, _NESTED_MESSAGES), name)
        yield from _of_enums(message.enum_type, (*path, _NESTED_ENUMS), name)


def _of_enums(
    enums: Iterable[descriptor_pb2.EnumDescriptorProto], parent: Place, scope: str
) -> Iterator[tuple[Place, str]]:
    for index, enum in enumerate(enums):
        path, name = (*parent, index), f"{scope}.{enum.name}"
        yield path, name
        yield from (((*path, _VALUES, at), f"{name}.{value.name}") for at, value in enumerate(enum.value))
