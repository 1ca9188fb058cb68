"""Requests: one message from the path, the query, the body and the headers of an HTTP request."""

import codecs
from collections.abc import Mapping
from typing import Any, Final

from google.protobuf import descriptor, message, message_factory

from gateway import bindings, documents, names, parameters, reader, templates, wellknown
from gateway.violations import Violations
from kobklein import errors, validation

ETAG: Final = "etag"
DRY_RUN: Final = "dry_run"
"""Field of a request that only asks what would happen."""
CURSOR: Final = "cursor"
"""Field that says where a message stands in its stream, and in a request, after which one to go on."""
_LAST_EVENT_ID: Final = b"last-event-id"
_UPDATE_MASK: Final = "update_mask"


class RequestReader:
    """Reads the requests of one route; everything wrong with a request is named at once."""

    def __init__(self, binding: bindings.Binding) -> None:
        self._binding = binding
        self._type = binding.request_type
        self.make = message_factory.GetMessageClass(self._type)
        self._read = reader.of(self._type)
        self._fill_body = reader.fill_of(binding.body_field) if binding.body_field else None
        self._variables = {
            variable.field: parameters.resolve(self._type, variable.field) for variable in binding.template.variables
        }
        taken = [*self._variables, binding.body]
        self._query = parameters.Query(self._type, taken=taken, open_to_fields=binding.body != bindings.WHOLE)
        self._etag = takes_etag(self._type)
        self._resumable = is_resumable(binding)
        self._masked = _masked_field(binding)

    def __call__(
        self, segments: list[str], query: bytes, body: bytes, headers: Mapping[bytes, bytes]
    ) -> message.Message:
        """Return the request; raises InvalidArgument that names every offending field by its proto path."""
        tree: dict[str, Any] = {}
        request, violations = self.make(), Violations()
        self._put_variables(segments, tree, violations)
        if query:
            self._query.read(query, tree, violations)
        if tree:
            self._read(request, tree, "", violations)
        legible = not body or self._read_body(request, body, violations)
        if self._etag and b"if-match" in headers:
            self._put_etag(request, headers[b"if-match"], violations)
        if self._resumable and _LAST_EVENT_ID in headers:
            _put_cursor(request, headers[_LAST_EVENT_ID], violations)
        if violations.found:
            if legible:  # Of a body that cannot be read, nothing else is known to be wrong.
                self._add_broken_rules(request, violations)
            violations.raise_any()
        return request

    def takes_path(self, segments: list[str]) -> bool:
        """Whether each variable of the path holds what its field may hold."""
        given = {variable.field for variable in self._binding.template.variables}
        try:
            self._binding.method.check(self(segments, b"", b"", {}))
        except errors.InvalidArgument as error:
            return given.isdisjoint(violation.field for violation in error.violations)
        return True

    def client_view(self, violation: errors.Violation) -> errors.Violation:
        """Return a violation with the names of fields that the client knows, in its path and in what it says."""
        path = names.client_path(violation.field, self._type, body_field=self._binding.body)
        return errors.Violation(path, names.client_text(violation.description, self._type))

    def _put_variables(self, segments: list[str], tree: dict[str, Any], violations: Violations) -> None:
        try:
            for field, text in self._binding.template.values(segments).items():
                self._variables[field].put(tree, text, violations)
        except templates.BadEscape as error:
            violations.add(str(error), "is not percent-encoded UTF-8")

    def _read_body(self, request: message.Message, body: bytes, violations: Violations) -> bool:
        """Fill the request from the body; return whether that could be read."""
        if not self._binding.body:
            violations.add("body", "is not taken by this operation")
            return True
        try:
            document = documents.parse(body.removeprefix(codecs.BOM_UTF8))
        except documents.Malformed as error:
            violations.add(error.field, str(error))
            return False
        if self._masked is not None:
            document = self._sent_back(self._masked, document)
        given = [(parameter, _value(request, parameter)) for parameter in self._variables.values()]
        if self._fill_body is None:
            self._read(request, document, "", violations)
        else:
            self._fill_body(request, document, self._binding.body, violations)
        for parameter, value in given:
            if _value(request, parameter) != value:
                violations.add(".".join(parameter.path), "differs from the path")
        if self._masked is not None:
            self._infer_mask(request, self._masked, document)
        return self._fill_body is not None or isinstance(document, dict)

    def _sent_back(self, resource: descriptor.FieldDescriptor, document: Any) -> Any:
        """Return the body of a PATCH without the fields of the resource that the service sets."""
        resource_type = resource.message_type
        assert resource_type is not None  # noqa: S101  # it is a resource
        if self._binding.body != bindings.WHOLE:
            return reader.without_output_only(resource_type, document)
        if type(document) is not dict:
            return document
        names_ = (resource.name, resource.json_name)
        return {
            key: reader.without_output_only(resource_type, value) if key in names_ else value
            for key, value in document.items()
        }

    def _infer_mask(self, request: Any, resource: descriptor.FieldDescriptor, document: Any) -> None:
        """Let the fields that a PATCH gives of a resource be the ones it changes, unless it says otherwise itself."""
        if self._binding.body == bindings.WHOLE and isinstance(document, dict):
            document = document.get(resource.json_name, document.get(resource.name))
        assert resource.message_type is not None  # noqa: S101  # it is a resource
        if isinstance(document, dict) and not request.HasField(_UPDATE_MASK):
            request.update_mask.paths.extend(reader.mask_of(resource.message_type, document))

    def _put_etag(self, request: Any, header: bytes, violations: Violations) -> None:
        tag = header.decode("latin-1").strip()
        if tag == "*":
            return
        bare = tag.removeprefix("W/")
        if len(bare) < 2 or bare[0] != '"' or bare[-1] != '"' or '"' in bare[1:-1]:
            violations.add("If-Match", 'is not one tag in quotes, such as "1"')
        elif request.etag and request.etag != bare[1:-1]:
            violations.add(ETAG, "differs from If-Match")
        else:
            request.etag = bare[1:-1]

    def _add_broken_rules(self, request: message.Message, violations: Violations) -> None:
        """Add what the service would say next, so that the client hears everything in one answer."""
        try:
            self._binding.method.check(request)
        except errors.InvalidArgument as error:
            violations.add_others(error.violations)


def _put_cursor(request: Any, header: bytes, violations: Violations) -> None:
    """Let a client that reconnects go on after what it has seen; its address still says where it once began."""
    if not header:
        return
    try:
        request.cursor = header.decode()
    except UnicodeDecodeError:
        violations.add("Last-Event-ID", "is not UTF-8")


def _value(request: Any, parameter: parameters.Parameter) -> Any:
    for name in parameter.path:
        request = getattr(request, name)
    return request


def takes_etag(message_type: descriptor.Descriptor) -> bool:
    """Whether a request can be bound to a version of its resource by `If-Match`."""
    return has_text_field(message_type, ETAG) and not validation.rules_of(message_type.fields_by_name[ETAG]).output_only


def is_resumable(binding: bindings.Binding) -> bool:
    """Whether a stream can go on after the last event that a client has seen: its messages and its request say where.

    If only the request did, events would have numbers for ids, which mean nothing to the service.
    """
    return binding.method.descriptor.server_streaming and all(
        has_text_field(message_type, CURSOR) for message_type in (binding.request_type, binding.response_type)
    )


def takes_dry_run(message_type: descriptor.Descriptor) -> bool:
    """Whether a request can ask what would happen, without its happening."""
    field = message_type.fields_by_name.get(DRY_RUN)
    return field is not None and field.type == descriptor.FieldDescriptor.TYPE_BOOL and not field.is_repeated


def has_text_field(message_type: descriptor.Descriptor, name: str) -> bool:
    """Whether a message has a single field of text by that name."""
    field = message_type.fields_by_name.get(name)
    return field is not None and field.type == descriptor.FieldDescriptor.TYPE_STRING and not field.is_repeated


def _masked_field(binding: bindings.Binding) -> descriptor.FieldDescriptor | None:
    """Return the field of a PATCH with the resource whose fields its mask names, None if there is no mask.

    It is the one that the body fills; of a request that the body fills whole, the only message of the contract in it.
    """
    mask = binding.request_type.fields_by_name.get(_UPDATE_MASK)
    if binding.http_method != "PATCH" or not _of_type(mask, "google.protobuf.FieldMask"):
        return None
    given = binding.request_type.fields if binding.body == bindings.WHOLE else [binding.body_field]
    resources = [field for field in given if _is_resource(field)]
    return resources[0] if len(resources) == 1 else None


def _is_resource(field: descriptor.FieldDescriptor | None) -> bool:
    return (
        field is not None
        and field.message_type is not None
        and not field.is_repeated
        and field.message_type.full_name not in wellknown.READERS
    )


def _of_type(field: descriptor.FieldDescriptor | None, name: str) -> bool:
    return field is not None and field.message_type is not None and field.message_type.full_name == name
