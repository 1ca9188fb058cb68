"""Path templates of `google.api.http`: their grammar, and the tree that finds the one a path belongs to.

Template = "/" Segments [ ":" LITERAL ] ;
Segments = Segment { "/" Segment } ;
Segment  = "*" | "**" | LITERAL | "{" FieldPath [ "=" Segments ] "}" ;
"""

import dataclasses
import re
import urllib.parse
from typing import Final, Generic, TypeVar

ONE: Final = "*"
REST: Final = "**"

_VARIABLE: Final = re.compile(r"\{([a-z][a-z0-9_.]*)(?:=([^{}]+))?\}")
_LITERAL: Final = re.compile(r"[A-Za-z0-9._~!$&'()+,;@%-]+")
_VERB: Final = re.compile(r":([A-Za-z][A-Za-z0-9_-]*)$")
_PART: Final = re.compile(r"(?:\{[^{}]*\}|[^/])+")  # Slashes inside of braces do not separate.
_KEPT_ESCAPES: Final = re.compile(r"%2[fF]")


class InvalidTemplate(ValueError):
    """A template outside of the grammar; raised at start-up."""


class BadEscape(ValueError):
    """A path whose percent-encoding is not UTF-8."""


@dataclasses.dataclass(frozen=True, slots=True)
class Variable:
    """A part of the path that fills a field of the request: the segments from `start` to before `end`."""

    field: str
    start: int
    end: int | None
    """None when it takes the rest of the path."""
    simple: bool
    """Whether it is one segment, whose text is decoded whole; longer ones keep `%2F`, since `/` separates there."""


@dataclasses.dataclass(frozen=True, slots=True)
class Template:
    """A parsed template."""

    segments: tuple[str, ...]
    verb: str
    variables: tuple[Variable, ...]

    def values(self, segments: list[str]) -> dict[str, str]:
        """Return the text of each variable in a path that matches; raises BadEscape."""
        return {
            variable.field: _decoded(segments[variable.start : variable.end], variable) for variable in self.variables
        }


def parse(text: str) -> Template:
    """Return the template that `text` describes; raises InvalidTemplate."""
    if not text.startswith("/") or "//" in text or (text.endswith("/") and text != "/"):
        raise InvalidTemplate(f"{text} is not a path from the root, without empty segments")
    verb = _VERB.search(text)
    segments: list[str] = []
    variables: list[Variable] = []
    for part in _PART.findall(text[1 : verb.start()] if verb else text[1:]):
        variable = _VARIABLE.fullmatch(part)
        if variable is None:
            segments.append(_segment(part, text))
            continue
        inner = [_segment(segment, text) for segment in (variable[2] or ONE).split("/")]
        end = None if inner[-1] == REST else len(segments) + len(inner)
        variables.append(Variable(variable[1], len(segments), end, inner == [ONE]))
        segments += inner
    if REST in segments[:-1]:
        raise InvalidTemplate(f"{text} goes on after **")
    return Template(tuple(segments), verb[1] if verb else "", tuple(variables))


def _segment(text: str, template: str) -> str:
    if text in (ONE, REST) or _LITERAL.fullmatch(text):
        return text
    raise InvalidTemplate(f"{template} has a segment {text!r} that is neither a literal nor a variable")


def _decoded(segments: list[str], variable: Variable) -> str:
    try:
        if variable.simple:
            return urllib.parse.unquote(segments[0], errors="strict")
        kept = _KEPT_ESCAPES.sub("%252F", "/".join(segments))
        return urllib.parse.unquote(kept, errors="strict")
    except UnicodeDecodeError:
        raise BadEscape(variable.field) from None


Target = TypeVar("Target")


class _Node(Generic[Target]):
    __slots__ = ("leaves", "literals", "one", "rest")

    def __init__(self) -> None:
        self.literals: dict[str, _Node[Target]] = {}
        self.one: _Node[Target] | None = None
        self.rest: _Node[Target] | None = None
        self.leaves: dict[str, dict[str, Target]] = {}
        """Targets by custom verb, then by HTTP method."""

    def child(self, segment: str) -> "_Node[Target]":
        if segment == ONE:
            self.one = self.one or _Node()
            return self.one
        if segment == REST:
            self.rest = self.rest or _Node()
            return self.rest
        return self.literals.setdefault(segment, _Node())

    def find(self, segments: list[str], at: int, verb: str) -> dict[str, Target] | None:
        """Return the targets of the most specific template that the segments from `at` match."""
        found = self.leaves.get(verb) if at == len(segments) else self._find_below(segments, at, verb)
        if found is None and self.rest is not None:
            found = self.rest.leaves.get(verb)
        return found

    def _find_below(self, segments: list[str], at: int, verb: str) -> dict[str, Target] | None:
        segment = segments[at]
        literal = self.literals.get(urllib.parse.unquote(segment) if "%" in segment else segment)
        found = literal.find(segments, at + 1, verb) if literal is not None else None
        if found is None and self.one is not None and segment:
            found = self.one.find(segments, at + 1, verb)
        return found


class Tree(Generic[Target]):
    """Every template of an application; literals win over `*`, and `*` over `**`.

    The most specific template that matches a path decides, as in OpenAPI: another method on it is not allowed, even
    if a less specific template has that method.
    """

    def __init__(self) -> None:
        self._root: _Node[Target] = _Node()
        self._verbs: set[str] = set()

    def add(self, http_method: str, template: Template, target: Target) -> None:
        """Add a target; raises InvalidTemplate if another one has the same method and shape of path."""
        node = self._root
        for segment in template.segments:
            node = node.child(segment)
        targets = node.leaves.setdefault(template.verb, {})
        if http_method in targets:
            raise InvalidTemplate(f"{http_method} /{'/'.join(template.segments)} is bound twice")
        targets[http_method] = target
        self._verbs.add(template.verb)

    def find(self, path: str) -> tuple[dict[str, Target], list[str]] | None:
        """Return the targets of a raw path by HTTP method, and its segments; None if no template matches."""
        segments = path[1:].split("/") if path != "/" else []
        stem, colon, verb = segments[-1].rpartition(":") if segments else ("", "", "")
        if colon and verb in self._verbs:
            shortened = [*segments[:-1], stem]
            found = self._root.find(shortened, 0, verb)
            if found is not None:
                return found, shortened
        found = self._root.find(segments, 0, "")
        return None if found is None else (found, segments)
