"""The contract as the protos state it: every method with its rules."""

import dataclasses
import functools
from collections.abc import Iterable
from typing import Final

from google.api import annotations_pb2
from google.protobuf import descriptor, descriptor_pb2, descriptor_pool, message

from kobklein import validation
from kobklein.options.v1 import options_pb2

_ROLE_PREFIX: Final = "ROLE_"

Role = str
"""A role as tokens carry it: `user`, `admin`, … (the enum's name without prefix, in lower case)."""


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Method:
    """One RPC with the rules its proto gives it."""

    path: str
    """Its name on the wire: `/package.Service/Method`."""
    descriptor: descriptor.MethodDescriptor
    rules: options_pb2.MethodRules
    anonymous: bool
    own: frozenset[Role]
    any: frozenset[Role]
    subject_path: tuple[str, ...]

    @property
    def part(self) -> str:
        """The part of the system that serves it, for people, by its package: `the payments service`."""
        *_, name, _version = self.descriptor.containing_service.file.package.split(".")
        return f"the {name} service"

    @property
    def reads(self) -> bool:
        """Whether a call changes nothing: the method is bound to GET, or says NO_SIDE_EFFECTS."""
        options = self.descriptor.GetOptions()
        return _is_get(options) or options.idempotency_level == descriptor_pb2.MethodOptions.NO_SIDE_EFFECTS

    @property
    def repeatable(self) -> bool:
        """Whether two equal calls have the effect of one: the method reads, has an idempotency key, or says IDEMPOTENT.

        IDEMPOTENT is for methods whose requests carry ids that their callers made.
        """
        level = self.descriptor.GetOptions().idempotency_level
        return self.reads or bool(self.rules.idempotency) or level == descriptor_pb2.MethodOptions.IDEMPOTENT

    @property
    def advises_key(self) -> bool:
        """Whether a call should have an idempotency key, and must have one where that is required."""
        return self.rules.idempotency == options_pb2.IDEMPOTENCY_ADVISED

    def check(self, request: message.Message) -> None:
        """Fill the request's defaults in and check it; raises InvalidArgument that names every offending field."""
        validation.check(request)

    def subject(self, request: message.Message) -> str:
        """Return the subject the request names, or an empty string."""
        return str(functools.reduce(getattr, self.subject_path, request)) if self.subject_path else ""

    def set_subject(self, request: message.Message, subject: str) -> None:
        """Name `subject` in the request."""
        *parents, name = self.subject_path
        setattr(functools.reduce(getattr, parents, request), name, subject)


def methods(services: Iterable[str]) -> dict[str, Method]:
    """Return the methods of the named services by their path on the wire.

    The generated modules of the services must have been imported. Raises ValueError for a method without rules: who
    may call it would be a guess.
    """
    found = [
        _method(method)
        for service in services
        for method in descriptor_pool.Default().FindServiceByName(service).methods
    ]
    return {method.path: method for method in found}


def _method(method: descriptor.MethodDescriptor) -> Method:
    rules = method.GetOptions().Extensions[options_pb2.method]
    access = rules.access
    if not (access.anonymous or access.own or access.any) or not rules.rate_limit:
        raise ValueError(f"{method.full_name} does not say who may call it, or how often")
    return Method(
        path=f"/{method.containing_service.full_name}/{method.name}",
        descriptor=method,
        rules=rules,
        anonymous=access.anonymous,
        own=frozenset(map(role_name, access.own)),
        any=frozenset(map(role_name, access.any)),
        subject_path=tuple(access.subject_field.split(".")) if access.subject_field else (),
    )


def _is_get(options: descriptor_pb2.MethodOptions) -> bool:
    rule = options.Extensions[annotations_pb2.http]
    return any(one.WhichOneof("pattern") == "get" for one in (rule, *rule.additional_bindings))


def role_name(role: "options_pb2.Role.ValueType") -> Role:
    """Return a role as tokens carry it."""
    return options_pb2.Role.Name(role).removeprefix(_ROLE_PREFIX).lower()


SERVICE: Final = role_name(options_pb2.ROLE_SERVICE)
"""The role of other internal services."""
ROLES: Final = frozenset(role_name(value) for value in options_pb2.Role.values() if value)
"""Every role there is."""
