"""Which HTTP route reaches which RPC, as `google.api.http` says in the contract."""

import dataclasses
import re
from collections.abc import Iterable, Iterator
from typing import Final

from google.api import annotations_pb2, http_pb2
from google.protobuf import descriptor

from gateway import parameters, templates, wellknown
from kobklein import contract

_MEDIA_TYPE: Final = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]*/(?:\*|[a-z0-9][a-z0-9!#$&^_.+-]*)")

_OBJECTS: Final = frozenset(("google.protobuf.Struct", "google.protobuf.Empty"))
"""Types with a JSON form of their own that is an object all the same."""
WHOLE: Final = "*"
"""A body that is the whole request."""
ANY_METHOD: Final = "*"


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Binding:
    """One HTTP route of one RPC."""

    http_method: str
    path: str
    """The template as the contract writes it."""
    template: templates.Template
    method: contract.Method
    body: str
    """The request field that the body fills, WHOLE for the request itself, or nothing for no body."""
    response_body: str
    """The response field that is shown, or nothing for the response itself."""

    @property
    def request_type(self) -> descriptor.Descriptor:
        """The RPC's request."""
        return self.method.descriptor.input_type

    @property
    def response_type(self) -> descriptor.Descriptor:
        """The RPC's response."""
        return self.method.descriptor.output_type

    @property
    def body_field(self) -> descriptor.FieldDescriptor | None:
        """The field that the body fills, if it is one."""
        return self.request_type.fields_by_name[self.body] if self.body not in ("", WHOLE) else None

    @property
    def response_field(self) -> descriptor.FieldDescriptor | None:
        """The field that is shown, if it is one."""
        return self.response_type.fields_by_name[self.response_body] if self.response_body else None

    @property
    def answers_file(self) -> bool:
        """Whether the answer is a `google.api.HttpBody`, sent as it is, instead of JSON."""
        field = self.response_field
        if field is None:
            return self.response_type.full_name == wellknown.HTTP_BODY
        shown = field.message_type
        return shown is not None and shown.full_name == wellknown.HTTP_BODY and not field.is_repeated


def of(methods: Iterable[contract.Method]) -> list[Binding]:
    """Return every route of the methods; those without an HTTP annotation have none.

    Raises ValueError for an annotation that does not fit its messages.
    """
    return [binding for method in methods for binding in _of_method(method)]


def _of_method(method: contract.Method) -> Iterator[Binding]:
    options = method.descriptor.GetOptions()
    if not options.HasExtension(annotations_pb2.http):
        return
    rule = options.Extensions[annotations_pb2.http]
    for one in (rule, *rule.additional_bindings):
        try:
            yield _checked(_binding(method, one))
        except (KeyError, ValueError) as error:
            raise ValueError(f"{method.descriptor.full_name}: its HTTP annotation does not fit: {error}") from error


def _binding(method: contract.Method, rule: http_pb2.HttpRule) -> Binding:
    kind = rule.WhichOneof("pattern")
    if kind is None:
        raise ValueError("it has no path")
    verb, path = (rule.custom.kind, rule.custom.path) if kind == "custom" else (kind.upper(), getattr(rule, kind))
    return Binding(verb, path, templates.parse(path), method, rule.body, rule.response_body)


def _checked(binding: Binding) -> Binding:
    """Return the binding after a look at each name in it."""
    for variable in binding.template.variables:
        if parameters.resolve(binding.request_type, variable.field).repeated:
            raise ValueError(f"the path cannot fill the repeated field {variable.field}")
    body_field, response_field = binding.body_field, binding.response_field
    if body_field is not None and binding.http_method in ("GET", "HEAD"):
        raise ValueError(f"{binding.http_method} has no body")
    if binding.method.descriptor.server_streaming:
        _check_stream(binding, response_field)
    if binding.body != WHOLE:
        taken = {binding.body, *(variable.field for variable in binding.template.variables)}
        parameters.check_maps(binding.request_type, taken)
    if binding.method.descriptor.client_streaming:
        raise ValueError("a client cannot stream over REST")
    _check_media_types(binding)
    return binding


def _check_stream(binding: Binding, response_field: descriptor.FieldDescriptor | None) -> None:
    """Raise ValueError unless each message is a JSON object: a line that is none ends a stream that broke off."""
    if response_field is not None:
        raise ValueError("a stream shows whole messages")
    name = binding.response_type.full_name
    if name in wellknown.READERS and name not in _OBJECTS and not binding.answers_file:
        raise ValueError(f"a stream's messages are JSON objects, which a {name} is not")


def _check_media_types(binding: Binding) -> None:
    media_types = binding.method.rules.media_types
    if media_types and not binding.answers_file:
        raise ValueError(f"it answers in JSON, and not in {', '.join(media_types)}")
    wrong = [one for one in media_types if not _MEDIA_TYPE.fullmatch(one)]
    if wrong:
        raise ValueError(f"{wrong[0]!r} is no media type")
