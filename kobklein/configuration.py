"""How a process reads its settings, and how it tells of mistakes: by the names of variables, never by their values."""

import difflib
import os
import re
import sys
from collections.abc import Iterator, Sequence
from typing import Any, Final, TypeVar, get_args

import pydantic
import pydantic_core
import pydantic_settings

from kobklein.settings import BROKEN_RULES, Variables, named

WRONG: Final = 2
"""The exit code of a process that cannot work with its configuration."""
_NEAR: Final = 0.75
"""How alike two names are, of 1, for one to be suggested in the place of the other."""
_SHOULD: Final = re.compile(r"^Input should")
S = TypeVar("S", bound=Variables)


class Mistakes(Exception):  # as in kobklein.errors
    """Variables that are missing, wrong or unknown: a line for each, without values."""


class NotToServeError(Exception):
    """What a service only finds out once it runs, and must not serve with; the text is a line for the operator."""


def read(settings: type[S], *, beside: Sequence[type[Variables]] = ()) -> S:
    """Return the settings of this process from its environment, or exit with 2 after a line for each mistake.

    `beside` are the settings of other commands with the same prefix, whose variables may be there too.
    """
    try:
        return parse(settings, beside=beside)
    except Mistakes as mistakes:
        sys.stderr.write(f"{mistakes}\n")
        sys.exit(WRONG)


def parse(settings: type[S], *, beside: Sequence[type[Variables]] = ()) -> S:
    """Return the settings of this process from its environment; raises Mistakes."""
    prefix = settings.model_config.get("env_prefix", "").upper()
    lines = [*_unknown((settings, *beside), prefix)]
    try:
        found = settings()
    except pydantic.ValidationError as error:
        lines += _wrong(settings, error, prefix)
    except pydantic_settings.SettingsError as error:  # A value for a whole group that is no JSON: see _unknown.
        lines = lines or [str(error)]
    else:
        lines += [_sentence(rule, prefix) for rule in found.broken_files()]
        if not lines:
            return found
    raise Mistakes("\n".join(dict.fromkeys(lines)))


def variables(group: type[pydantic.BaseModel], prefix: str) -> Iterator[str]:
    """Yield the names of all variables of a group, and of the groups in it."""
    for name, field in group.model_fields.items():
        variable = f"{prefix}{name}".upper()
        inner = _group(field.annotation)
        yield from variables(inner, f"{variable}__") if inner else (variable,)


def _unknown(groups: Sequence[type[pydantic.BaseModel]], prefix: str) -> Iterator[str]:
    """Yield a line for each variable that has the prefix of this process and no meaning."""
    known = [variable for group in groups for variable in variables(group, prefix)]
    for given in sorted(os.environ):
        name = given.upper()
        if not prefix or not name.startswith(prefix) or name in known:
            continue
        yield f"{given}: there is no such variable{_suggestion(name, known)}"


def _suggestion(name: str, known: list[str]) -> str:
    parts = [each for each in known if each.startswith(f"{name}__")]
    if parts:
        return f"; its parts are variables of their own, such as {parts[0]}"
    near = difflib.get_close_matches(name, known, n=1, cutoff=_NEAR)
    return f"; did you mean {near[0]}?" if near else ""


def _wrong(group: type[pydantic.BaseModel], error: pydantic.ValidationError, prefix: str) -> Iterator[str]:
    """Yield a line for each variable of `group` that is missing or wrong, and for each rule that is broken."""
    for each in error.errors(include_url=False, include_input=False):
        path, annotation = _field(group, each["loc"])
        variable = prefix + "__".join(path).upper()
        if each["type"] == BROKEN_RULES:
            inner = f"{variable}__" if path else prefix
            yield from (_sentence(rule, inner) for rule in each["ctx"]["rules"])
        elif each["type"] == "missing" and (missing := _group(annotation)):
            yield from _wrong_if_empty(missing, f"{variable}__")
        elif each["type"] != "extra_forbidden":  # Of those, _unknown has told already.
            yield f"{variable}: {_said(each)}"


def _wrong_if_empty(group: type[pydantic.BaseModel], prefix: str) -> Iterator[str]:
    try:
        group.model_validate({})
    except pydantic.ValidationError as error:
        yield from _wrong(group, error, prefix)


def _said(error: pydantic_core.ErrorDetails) -> str:
    """Return the fault of a value; pydantic's own sentences repeat none, nor do those of kobklein.settings."""
    item = next((f"item {part + 1} " for part in error["loc"] if isinstance(part, int)), "")
    if error["type"] == "missing":
        return "is missing"
    if error["type"] == "value_error":
        return f"{item}{error['ctx']['error']}"
    return item + _SHOULD.sub("must", error["msg"])


def _sentence(rule: str, prefix: str) -> str:
    sentence = named(rule, lambda field: f"{prefix}{field}".upper())
    return sentence[0].upper() + sentence[1:]


def _field(group: type[pydantic.BaseModel], place: tuple[int | str, ...]) -> tuple[list[str], Any]:
    """Return the names that lead to a field, and its type; `place` may go on into its value, and names kinds of it."""
    path: list[str] = []
    annotation: Any = group
    for part in place:
        inner = _group(annotation)
        if inner is None or part not in inner.model_fields:
            break
        path.append(str(part))
        annotation = inner.model_fields[str(part)].annotation
    return path, annotation


def _group(annotation: Any) -> type[pydantic.BaseModel] | None:
    """Return the group that a field holds, or may hold."""
    for candidate in (annotation, *get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, pydantic.BaseModel):
            return candidate
    return None
