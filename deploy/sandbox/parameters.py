"""What an operation accepts: typed parameters that turn form text into values or refuse it as Stripe does."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from deploy.sandbox import errors
from deploy.sandbox.forms import Raw

Arguments = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter(ABC):
    """One named input. `clearable` lets the empty string unset the value."""

    required: bool = False
    clearable: bool = False

    @abstractmethod
    def parse(self, raw: Raw, path: str) -> Any:
        """The value of `raw`; raises InvalidParameter naming `path`."""


@dataclass(frozen=True, slots=True)
class Text(Parameter):
    """A string of at most `limit` characters."""

    limit: int = 5000

    def parse(self, raw: Raw, path: str) -> str:
        """The text itself."""
        if not isinstance(raw, str):
            raise errors.InvalidParameter(f"Invalid string: {path} must be a string", param=path)
        if len(raw) > self.limit:
            message = f"Invalid string: {path} must be at most {self.limit} characters"
            raise errors.InvalidParameter(message, code="parameter_invalid_string", param=path)
        return raw


@dataclass(frozen=True, slots=True)
class Integer(Parameter):
    """A whole number within limits."""

    minimum: int | None = None
    maximum: int | None = None

    def parse(self, raw: Raw, path: str) -> int:
        """The number; a sign and digits, nothing else."""
        if not isinstance(raw, str) or not raw.removeprefix("-").isdecimal() or len(raw) > 19:
            code = "parameter_invalid_integer"
            raise errors.InvalidParameter(f"Invalid integer: {raw}", code=code, param=path)
        value = int(raw)
        if self.minimum is not None and value < self.minimum:
            message = f"This value must be greater than or equal to {self.minimum}."
            raise errors.InvalidParameter(message, code="parameter_invalid_integer", param=path)
        if self.maximum is not None and value > self.maximum:
            message = f"This value must be less than or equal to {self.maximum}."
            raise errors.InvalidParameter(message, code="parameter_invalid_integer", param=path)
        return value


@dataclass(frozen=True, slots=True)
class Boolean(Parameter):
    """`true` or `false`."""

    def parse(self, raw: Raw, path: str) -> bool:
        """The truth."""
        if raw not in ("true", "false"):
            raise errors.InvalidParameter(f"Invalid boolean: {raw}", param=path)
        return raw == "true"


@dataclass(frozen=True, slots=True)
class Choice(Parameter):
    """One of a few words."""

    options: tuple[str, ...]

    def parse(self, raw: Raw, path: str) -> str:
        """The word."""
        if not isinstance(raw, str) or raw not in self.options:
            raise errors.InvalidParameter(f"Invalid {path}: must be one of {', '.join(self.options)}", param=path)
        return raw


@dataclass(frozen=True, slots=True)
class Array(Parameter):
    """A list of up to `limit` values of one kind."""

    of: Parameter
    limit: int = 100

    def parse(self, raw: Raw, path: str) -> list[Any]:
        """The values in the order of their positions."""
        if not isinstance(raw, dict) or not all(key.isdecimal() for key in raw) or len(raw) > self.limit:
            raise errors.InvalidParameter("Invalid array", param=path)
        return [self.of.parse(raw[key], f"{path}[{key}]") for key in sorted(raw, key=int)]


@dataclass(frozen=True, slots=True)
class Fields(Parameter):
    """A dictionary with known names; any other name is refused."""

    members: Mapping[str, Parameter]

    def parse(self, raw: Raw, path: str) -> Arguments:
        """The members that were given; a cleared one is None."""
        if not isinstance(raw, dict):
            raise errors.InvalidParameter("Invalid object", param=path)
        self._refuse_unknown(raw, path)
        self._refuse_missing(raw, path)
        return {name: _member(self.members[name], value, _join(path, name)) for name, value in raw.items()}

    def _refuse_unknown(self, raw: dict[str, Raw], path: str) -> None:
        unknown = [_join(path, name) for name in raw if name not in self.members]
        if unknown:
            noun = "parameter" if len(unknown) == 1 else "parameters"
            message = f"Received unknown {noun}: {', '.join(unknown)}"
            raise errors.InvalidParameter(message, code="parameter_unknown", param=unknown[0])

    def _refuse_missing(self, raw: dict[str, Raw], path: str) -> None:
        for name, parameter in self.members.items():
            if parameter.required and name not in raw:
                param = _join(path, name)
                message = f"Missing required param: {param}."
                raise errors.InvalidParameter(message, code="parameter_missing", param=param)


@dataclass(frozen=True, slots=True)
class Metadata(Parameter):
    """Up to 50 pairs of text; an empty value removes its key, an empty string removes them all."""

    clearable: bool = True

    def parse(self, raw: Raw, path: str) -> dict[str, str]:
        """The pairs, removals included."""
        if not isinstance(raw, dict) or not all(isinstance(value, str) for value in raw.values()):
            raise errors.InvalidParameter("Invalid object", param=path)
        if len(raw) > 50:
            raise errors.InvalidParameter("Metadata can have at most 50 keys", param=path)
        return {key: self._value(key, str(value), path) for key, value in raw.items()}

    @staticmethod
    def _value(key: str, value: str, path: str) -> str:
        if len(key) > 40:
            raise errors.InvalidParameter("Metadata keys can have up to 40 characters", param=f"{path}[{key}]")
        if len(value) > 500:
            raise errors.InvalidParameter("Metadata values can have up to 500 characters", param=f"{path}[{key}]")
        return value


@dataclass(frozen=True, slots=True)
class Unsupported(Parameter):
    """A parameter that Stripe knows and the sandbox does not simulate: refused loudly, never ignored."""

    def parse(self, raw: Raw, path: str) -> Any:  # noqa: ARG002 (whatever it says)
        """Always raises."""
        raise errors.InvalidParameter(f"The sandbox does not simulate the parameter {path}.", param=path)


@dataclass(frozen=True, slots=True)
class Unlisted(Parameter):
    """Any nested text, for values that only have to be there."""

    def parse(self, raw: Raw, path: str) -> Raw:  # noqa: ARG002 (nothing to refuse)
        """The text as it came."""
        return raw


def clearable(members: Mapping[str, Parameter]) -> dict[str, Parameter]:
    """The same parameters for an update: none is required, and the empty string unsets those that were not."""
    return {
        name: replace(parameter, required=False, clearable=not parameter.required)
        for name, parameter in members.items()
    }


def merged(current: dict[str, str], changes: dict[str, str] | None) -> dict[str, str]:
    """Metadata after an update: an empty value removes its key, None removes every key."""
    if changes is None:
        return {}
    return {key: value for key, value in {**current, **changes}.items() if value != ""}


def _join(path: str, name: str) -> str:
    return f"{path}[{name}]" if path else name


def _member(parameter: Parameter, raw: Raw, path: str) -> Any:
    if raw != "":
        return parameter.parse(raw, path)
    if parameter.clearable:
        return None
    message = f"You passed an empty string for '{path}', which would unset it; '{path}' cannot be unset."
    raise errors.InvalidParameter(message, code="parameter_invalid_empty", param=path)
