"""The OpenAPI 3.1 document of the public API, made from the contract alone."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from google.protobuf import descriptor

from gateway import (
    bindings,
    comments,
    examples,
    landing,
    names,
    openapi_names,
    openapi_paths,
    openapi_shared,
    parameters,
    requests,
    schemas,
    templates,
    webhooks,
)
from kobklein import VERSION, contract, validation

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
FieldDescriptor = descriptor.FieldDescriptor


def document(served: Iterable[bindings.Binding], texts: Mapping[str, str], *, keys_required: bool = False) -> Document:
    """Return the document of the given routes; `texts` are the contract's comments by full name.

    `keys_required` says that calls which should have an idempotency key are refused without one.
    """
    described = [binding for binding in served if binding.http_method in _METHODS]
    return _Writer(texts, described, keys_required=keys_required).document()


class _Writer:
    def __init__(self, texts: Mapping[str, str], served: Sequence[bindings.Binding], *, keys_required: bool) -> None:
        self._texts = texts
        self._served = served
        self._keys_required = keys_required
        reserved = (*schemas.CURRENCIES, openapi_shared.PROBLEM)
        self._schemas = schemas.Schemas(texts, openapi_names.schemas(served, reserved=reserved))
        self._operation_ids = openapi_names.operations(served)
        self._paths: dict[str, Document] = {}
        self._path_of_shape: dict[tuple[Any, ...], tuple[str, list[str]]] = {}

    def document(self) -> Document:
        services = {binding.method.descriptor.containing_service for binding in self._served}
        for binding in self._served:
            self._add(binding)
        if webhooks.SERVICE in {service.full_name for service in services}:
            for provider, header in webhooks.SIGNATURE_HEADERS.items():
                self._paths[webhooks.path(provider)] = openapi_shared.webhook(provider, header)
        return {
            "openapi": "3.1.0",
            "info": {"title": landing.NAME, "version": VERSION, "description": _INTRODUCTION},
            "servers": [{"url": "/"}],
            "tags": [self._tag(service) for service in sorted(services, key=lambda service: service.full_name)],
            "paths": self._paths,
            "components": {
                "schemas": {**self._schemas.components, openapi_shared.PROBLEM: openapi_shared.PROBLEM_SCHEMA},
                "responses": openapi_shared.PROBLEM_RESPONSES,
                "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
            },
        }

    def _tag(self, service: descriptor.ServiceDescriptor) -> Document:
        return {"name": openapi_names.tag(service), "description": self._text(service.full_name)[0]}

    def _text(self, full_name: str) -> tuple[str, str]:
        return comments.paragraphs(self._texts.get(full_name, ""))

    def _add(self, binding: bindings.Binding) -> None:
        """Add an operation; templates of one shape share a path, whatever their variables are called."""
        shape = (*binding.template.segments, binding.template.verb)
        path, variables = self._path_of_shape.setdefault(shape, openapi_paths.shown(binding))
        self._paths.setdefault(path, {})[binding.http_method.lower()] = self._operation(binding, variables)

    def _operation(self, binding: bindings.Binding, variables: Sequence[str]) -> Document:
        method = binding.method
        summary, description = self._text(method.descriptor.full_name)
        operation: Document = {
            "operationId": self._operation_ids[binding],
            "tags": [openapi_names.tag(method.descriptor.containing_service)],
            "summary": summary or method.descriptor.name,
            "description": "\n\n".join(filter(None, (description, _callers(method)))),
            "parameters": [
                *self._path_parameters(binding, variables),
                *self._query(binding),
                *openapi_shared.parameters_of(binding, keys_required=self._keys_required),
            ],
            "responses": self._responses(binding),
            "security": [] if method.anonymous else [{"bearer": []}],
        }
        if binding.body:
            operation["requestBody"] = self._request_body(binding)
        return operation

    def _path_parameters(self, binding: bindings.Binding, variables: Sequence[str]) -> list[Document]:
        return [
            {
                "name": name,
                "in": "path",
                "required": True,
                **self._variable_example(binding, variable),
                "schema": self._variable(
                    binding, variable.field, binding.template.segments[variable.start : variable.end]
                ),
            }
            for name, variable in zip(variables, binding.template.variables, strict=True)
        ]

    def _variable_example(self, binding: bindings.Binding, variable: templates.Variable) -> Document:
        """Return what shows a value of a variable, unless the template says what its parts are."""
        if not variable.simple:
            return {}
        return {"example": examples.of_field(openapi_paths.field(binding.request_type, variable.field), given=True)}

    def _variable(self, binding: bindings.Binding, path: str, segments: Sequence[str]) -> schemas.Schema:
        schema = self._schemas.field(openapi_paths.field(binding.request_type, path), given=True, text=True)
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
        return list(self._query_fields(binding.request_type, taken, ()))

    def _query_fields(
        self, message_type: descriptor.Descriptor, taken: set[str], parents: tuple[FieldDescriptor, ...]
    ) -> Iterable[Document]:
        for field in message_type.fields:
            path = (*parents, field)
            if ".".join(each.name for each in path) in taken or validation.is_hidden(field, given=True):
                continue
            try:
                parameters.resolve(message_type, field.name)
            except parameters.NotAParameter:
                nested = field.message_type if not field.is_repeated and not validation.is_map(field) else None
                if nested is not None and not nested.full_name.startswith("google.") and len(path) < _DEEPEST_QUERY:
                    yield from self._query_fields(nested, taken, path)
                continue
            yield self._parameter(path)

    def _parameter(self, path: tuple[FieldDescriptor, ...]) -> Document:
        field = path[-1]
        schema = self._schemas.field(field, given=True, text=True)
        description = schema.pop("description", "")
        parameter = {
            "name": ".".join(names.camel(each.name) for each in path),
            "in": "query",
            "required": all(validation.rules_of(each).required for each in path),
            "description": description,
            "schema": schema,
        }
        if parameter["required"]:
            parameter["example"] = examples.of_field(field, given=True)
        if validation.is_map(field):
            schema["propertyNames"]["minLength"] = 1
            parameter |= {**_ENTRIES, "example": {}}  # Else pages that try calls out make an entry up.
        return parameter

    def _request_body(self, binding: bindings.Binding) -> Document:
        field, elsewhere = binding.body_field, {variable.field for variable in binding.template.variables}
        parts = [field] if field else [one for one in binding.request_type.fields if one.name not in elsewhere]
        required = any(validation.rules_of(part).required for part in parts)
        media = {"schema": self._body_schema(binding), "example": self._body_example(binding)}
        body = {"required": required, "content": {_JSON: media}}
        most = binding.method.rules.max_body_bytes
        return body | ({"description": f"At most {most} bytes."} if most else {})

    def _body_example(self, binding: bindings.Binding) -> Any:
        field = binding.body_field
        if field is None:
            elsewhere = frozenset(variable.field for variable in binding.template.variables)
            return examples.of_message(binding.request_type, given=True, without=elsewhere)
        if examples.stated(field) is examples.ABSENT and field.message_type is not None and not field.is_repeated:
            return examples.of_message(field.message_type, given=True, without=openapi_paths.given(binding, field))
        return examples.of_field(field, given=True)

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
        elsewhere = openapi_paths.given(binding, field)
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
        schema, field = self._answer_schema(binding), binding.response_field
        example = (
            examples.of_field(field, given=False)
            if field is not None
            else examples.of_message(binding.response_type, given=False)
        )
        if binding.method.descriptor.server_streaming:
            answer["description"] = (
                "A stream: one JSON object a line, or server-sent events where `Accept` asks for them."
            )
            if requests.is_resumable(binding):
                answer["description"] += " The id of an event is its `cursor`."
            answer["content"] = {
                "application/x-ndjson": {"schema": schema, "example": example},
                "text/event-stream": {"schema": {"type": "string"}},
            }
        else:
            answer["content"] = {_JSON: {"schema": schema, "example": example}}
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


def _callers(method: contract.Method) -> str:
    """Say who may call."""
    if method.anonymous:
        return "Needs no token."
    own, every = sorted(method.own), sorted(method.any)
    parts = [f"{', '.join(own)} for themselves"] if own else []
    parts += [f"{', '.join(every)} for everybody"] if every else []
    return f"Callers: {'; '.join(parts)}."
