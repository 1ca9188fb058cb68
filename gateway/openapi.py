"""The OpenAPI 3.1 document of the public API, made from the contract alone."""

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from google.protobuf import descriptor

from gateway import bindings, comments, names, openapi_shared, parameters, requests, schemas, webhooks
from kobklein import contract, validation

VERSION: Final = "1.0.0"
_TITLE: Final = "KobKlein payments and wallets"
_INTRODUCTION: Final = """Payments, wallets and reports over REST.

Amounts are decimal text of their currency (`"100.00"`); in requests a JSON number is understood too, by its digits.
Fields may be written in lowerCamelCase or snake_case. What a request does not know is refused, with every offending
field named. Errors are problem documents (RFC 9457). Absent and null mean the same."""
_METHODS: Final = frozenset(("GET", "PUT", "POST", "DELETE", "OPTIONS", "HEAD", "PATCH", "TRACE"))
_DEEPEST_QUERY: Final = 4
_JSON: Final = "application/json"
_ANYTHING: Final = "*/*"
_ENTRIES: Final = {"style": "deepObject", "explode": True}
"""How a query gives a map: `name[key]=value`, once for each key, none of them empty."""

Document = dict[str, Any]


def document(served: Iterable[bindings.Binding], texts: Mapping[str, str]) -> Document:
    """Return the document of the given routes; `texts` are the contract's comments by full name."""
    return _Writer(texts).document(list(served))


class _Writer:
    def __init__(self, texts: Mapping[str, str]) -> None:
        self._texts = texts
        self._schemas = schemas.Schemas(texts)
        self._paths: dict[str, Document] = {}
        self._path_of_shape: dict[tuple[Any, ...], tuple[str, list[str]]] = {}
        self._operation_ids: set[str] = set()

    def document(self, served: Sequence[bindings.Binding]) -> Document:
        services = {binding.method.descriptor.containing_service for binding in served}
        for binding in served:
            if binding.http_method in _METHODS:
                self._add(binding)
        if any(binding.method.descriptor.containing_service.full_name == webhooks.SERVICE for binding in served):
            for provider, header in webhooks.SIGNATURE_HEADERS.items():
                self._paths[webhooks.path(provider)] = openapi_shared.webhook(provider, header)
        return {
            "openapi": "3.1.0",
            "info": {"title": _TITLE, "version": VERSION, "description": _INTRODUCTION},
            "servers": [{"url": "/"}],
            "tags": [self._tag(service) for service in sorted(services, key=lambda service: service.full_name)],
            "paths": self._paths,
            "components": {
                "schemas": {**self._schemas.components, "Problem": openapi_shared.PROBLEM_SCHEMA},
                "responses": {"Problem": openapi_shared.PROBLEM_RESPONSE},
                "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
            },
        }

    def _tag(self, service: descriptor.ServiceDescriptor) -> Document:
        return {"name": _tag_name(service), "description": self._text(service.full_name)[0]}

    def _text(self, full_name: str) -> tuple[str, str]:
        return comments.paragraphs(self._texts.get(full_name, ""))

    def _add(self, binding: bindings.Binding) -> None:
        """Add an operation; templates of one shape share a path, whatever their variables are called."""
        shape = (*binding.template.segments, binding.template.verb)
        path, variables = self._path_of_shape.setdefault(shape, _openapi_path(binding))
        self._paths.setdefault(path, {})[binding.http_method.lower()] = self._operation(binding, variables)

    def _operation(self, binding: bindings.Binding, variables: Sequence[str]) -> Document:
        method = binding.method
        summary, description = self._text(method.descriptor.full_name)
        operation: Document = {
            "operationId": self._operation_id(method.descriptor.name),
            "tags": [_tag_name(method.descriptor.containing_service)],
            "summary": summary or method.descriptor.name,
            "description": "\n\n".join(filter(None, (description, _callers(method)))),
            "parameters": [
                *self._path_parameters(binding, variables),
                *self._query(binding),
                *openapi_shared.parameters_of(binding),
            ],
            "responses": self._responses(binding),
            "security": [] if method.anonymous else [{"bearer": []}],
        }
        if binding.body:
            operation["requestBody"] = self._request_body(binding)
        return operation

    def _operation_id(self, name: str) -> str:
        number = 1
        while (found := name if number == 1 else f"{name}{number}") in self._operation_ids:
            number += 1
        self._operation_ids.add(found)
        return found

    def _path_parameters(self, binding: bindings.Binding, variables: Sequence[str]) -> list[Document]:
        return [
            {
                "name": name,
                "in": "path",
                "required": True,
                "schema": self._variable(
                    binding, variable.field, binding.template.segments[variable.start : variable.end]
                ),
            }
            for name, variable in zip(variables, binding.template.variables, strict=True)
        ]

    def _variable(self, binding: bindings.Binding, path: str, segments: Sequence[str]) -> schemas.Schema:
        schema = self._schemas.field(_field(binding.request_type, path), given=True, text=True)
        if schema.get("type") == "string":
            schema["minLength"] = max(1, schema.get("minLength", 0))
        if len(segments) > 1 or segments[0] != "*":
            patterns = {"*": "[^/]+", "**": ".*"}
            schema["pattern"] = "^" + "/".join(patterns.get(segment, segment) for segment in segments) + "$"
        return schema

    def _query(self, binding: bindings.Binding) -> list[Document]:
        if binding.body == bindings.WHOLE:
            return []
        taken = {variable.field for variable in binding.template.variables} | {binding.body}
        return list(self._query_fields(binding.request_type, taken, (), binding.http_method))

    def _query_fields(
        self, message_type: descriptor.Descriptor, taken: set[str], parents: tuple[str, ...], http_method: str
    ) -> Iterable[Document]:
        for field in message_type.fields:
            path = (*parents, field.name)
            if ".".join(path) in taken:
                continue
            try:
                parameters.resolve(message_type, field.name)
            except parameters.NotAParameter:
                nested = field.message_type if not field.is_repeated and not validation.is_map(field) else None
                if nested is not None and not nested.full_name.startswith("google.") and len(path) < _DEEPEST_QUERY:
                    yield from self._query_fields(nested, taken, path, http_method)
                continue
            yield self._parameter(field, path)

    def _parameter(self, field: descriptor.FieldDescriptor, path: tuple[str, ...]) -> Document:
        schema = self._schemas.field(field, given=True, text=True)
        description = schema.pop("description", "")
        parameter = {
            "name": ".".join(map(names.camel, path)),
            "in": "query",
            "required": False,
            "description": description,
            "schema": schema,
        }
        if validation.is_map(field):
            schema["propertyNames"]["minLength"] = 1
            parameter |= _ENTRIES
        return parameter

    def _request_body(self, binding: bindings.Binding) -> Document:
        field, elsewhere = binding.body_field, {variable.field for variable in binding.template.variables}
        parts = [field] if field else [one for one in binding.request_type.fields if one.name not in elsewhere]
        required = any(validation.rules_of(part).required for part in parts)
        body = {"required": required, "content": {_JSON: {"schema": self._body_schema(binding)}}}
        most = binding.method.rules.max_body_bytes
        return body | ({"description": f"At most {most} bytes."} if most else {})

    def _body_schema(self, binding: bindings.Binding) -> schemas.Schema:
        field = binding.body_field
        if field is not None:
            return self._body_field_schema(binding, field)
        elsewhere = frozenset(variable.field for variable in binding.template.variables)
        if elsewhere:
            return self._schemas.object(binding.request_type, given=True, without=elsewhere)
        return self._schemas.message(binding.request_type, given=True)

    def _body_field_schema(self, binding: bindings.Binding, field: descriptor.FieldDescriptor) -> schemas.Schema:
        """Return the schema of a body that is one field, without what of it the path gives."""
        inside = [variable.field.partition(".") for variable in binding.template.variables]
        elsewhere = frozenset(rest for name, _, rest in inside if name == field.name and rest)
        if elsewhere and field.message_type is not None:
            return self._schemas.object(field.message_type, given=True, without=elsewhere)
        return self._schemas.field(field, given=True, text=True)

    def _responses(self, binding: bindings.Binding) -> Document:
        rules = binding.method.rules
        empty = binding.response_type.full_name == "google.protobuf.Empty"
        status = str(rules.success_status or (204 if empty else 200))
        responses: Document = {status: self._success(binding, empty=empty)}
        if requests.takes_dry_run(binding.request_type) and status != "200":
            tried = self._success(binding, empty=False)
            responses["200"] = tried | {"description": "What would happen, for a dry run; nothing is created."}
        if openapi_shared.answers_304(binding):
            responses["304"] = {"description": "As named by If-None-Match."}
        return {**responses, **openapi_shared.refusals_of(binding)}

    def _success(self, binding: bindings.Binding, *, empty: bool) -> Document:
        answer: Document = {"description": "Success.", "headers": openapi_shared.headers_of(binding)}
        if empty:
            return answer
        if binding.answers_file:
            return answer | _file(binding)
        schema = self._answer_schema(binding)
        if binding.method.descriptor.server_streaming:
            answer["description"] = (
                "A stream: one JSON object a line, or server-sent events where `Accept` asks for them."
            )
            if requests.is_resumable(binding):
                answer["description"] += " The id of an event is its `cursor`."
            answer["content"] = {
                "application/x-ndjson": {"schema": schema},
                "text/event-stream": {"schema": {"type": "string"}},
            }
        else:
            answer["content"] = {_JSON: {"schema": schema}}
        return answer

    def _answer_schema(self, binding: bindings.Binding) -> schemas.Schema:
        field = binding.response_field
        return (
            self._schemas.field(field, given=False)
            if field is not None
            else self._schemas.message(binding.response_type, given=False)
        )


def _file(binding: bindings.Binding) -> Document:
    """Return what describes an answer of raw bytes, about whose inside JSON Schema has nothing to say."""
    description = "A file."
    if binding.method.descriptor.server_streaming:
        description = "A file, sent as it is made; one that breaks off is an incomplete body, never a short file."
    media_types = binding.method.rules.media_types or (_ANYTHING,)
    return {"description": description, "content": {media_type: {} for media_type in media_types}}


def _tag_name(service: descriptor.ServiceDescriptor) -> str:
    return service.name.removesuffix("Service")


def _openapi_path(binding: bindings.Binding) -> tuple[str, list[str]]:
    """Return the path with one parameter a variable, and the names of its parameters."""
    segments, variables, at = list(binding.template.segments), [], 0
    shown: list[str] = []
    for variable in binding.template.variables:
        shown += segments[at : variable.start]
        variables.append(names.camel(variable.field.replace(".", "_")))  # Many tools cannot format a name with a dot.
        shown.append(f"{{{variables[-1]}}}")
        at = len(segments) if variable.end is None else variable.end
    shown += segments[at:]
    verb = f":{binding.template.verb}" if binding.template.verb else ""
    return f"/{'/'.join(shown)}{verb}", variables


def _field(message_type: descriptor.Descriptor, path: str) -> descriptor.FieldDescriptor:
    *parents, last = path.split(".")
    return _nested(message_type, parents).fields_by_name[last]


def _nested(message_type: descriptor.Descriptor, parents: Iterable[str]) -> descriptor.Descriptor:
    def step(current: descriptor.Descriptor, name: str) -> descriptor.Descriptor:
        nested = current.fields_by_name[name].message_type
        if nested is None:
            raise TypeError(f"{current.full_name}.{name} holds no fields")
        return nested

    return functools.reduce(step, parents, message_type)


def _callers(method: contract.Method) -> str:
    """Say who may call."""
    if method.anonymous:
        return "Needs no token."
    own, every = sorted(method.own), sorted(method.any)
    parts = [f"{', '.join(own)} for themselves"] if own else []
    parts += [f"{', '.join(every)} for everybody"] if every else []
    return f"Callers: {'; '.join(parts)}."
