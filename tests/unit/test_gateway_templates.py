"""Path templates: their grammar, and which of them a path belongs to."""

import pytest

from gateway import templates


def tree(*paths: str) -> "templates.Tree[str]":
    found: templates.Tree[str] = templates.Tree()
    for path in paths:
        found.add("GET", templates.parse(path), path)
    return found


def match(found: "templates.Tree[str]", path: str) -> tuple[str, dict[str, str]] | None:
    matched = found.find(path)
    if matched is None:
        return None
    targets, segments = matched
    return targets["GET"], templates.parse(targets["GET"]).values(segments)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "/a/",
        "//a",
        "/a//b",
        "/{",
        "/{}",
        "/{A}",
        "/a{b}",
        "/{b}c",
        "/{b=}",
        "/{b=**}/c",
        "/**/a",
        "/{a={b}}",
        "/a b",
    ],
)
def test_what_is_outside_of_the_grammar_is_refused(text: str) -> None:
    with pytest.raises(templates.InvalidTemplate):
        templates.parse(text)


def test_a_template_is_parsed_into_segments_variables_and_verb() -> None:
    parsed = templates.parse("/v1/{shelf.name=shelves/*}/books/{id}:lend")
    assert (parsed.segments, parsed.verb) == (("v1", "shelves", "*", "books", "*"), "lend")
    assert parsed.variables == (
        templates.Variable("shelf.name", 1, 3, simple=False),
        templates.Variable("id", 4, 5, simple=True),
    )


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/a", ("/a", {})),
        ("/a/b", ("/a/b", {})),
        ("/a/c", ("/a/{x}", {"x": "c"})),
        ("/a/b:go", ("/a/{x}:go", {"x": "b"})),
        ("/a/b:stay", ("/a/{x}", {"x": "b:stay"})),
        ("/a/b:c:go", ("/a/{x}:go", {"x": "b:c"})),
        ("/a/c/d", ("/a/{x}/d", {"x": "c"})),
        ("/a/b/d", ("/a/b/{y}", {"y": "d"})),
        ("/a/b/e", ("/a/b/{y}", {"y": "e"})),
        ("/f/1/2/3", ("/f/{z=**}", {"z": "1/2/3"})),
        ("/f", ("/f/{z=**}", {"z": ""})),
        ("/a/%2F%20", ("/a/{x}", {"x": "/ "})),
        ("/f/%2F/%2f%20", ("/f/{z=**}", {"z": "%2F/%2F "})),
        ("/a/*", ("/a/{x}", {"x": "*"})),
        ("/a/**", ("/a/{x}", {"x": "**"})),
        ("/%61/b", ("/a/b", {})),
        ("/a/", None),
        ("/a//d", None),
        ("/", None),
        ("/g", None),
        ("/a/b/c/d", None),
    ],
)
def test_the_most_specific_template_wins(path: str, expected: tuple[str, dict[str, str]] | None) -> None:
    paths = tree("/a", "/a/b", "/a/{x}", "/a/{x}:go", "/a/{x}/d", "/a/b/{y}", "/f/{z=**}")
    assert match(paths, path) == expected


def test_the_root_has_a_template_too() -> None:
    assert match(tree("/"), "/") == ("/", {})


def test_two_targets_of_one_shape_and_method_are_refused() -> None:
    with pytest.raises(templates.InvalidTemplate, match="bound twice"):
        tree("/a/{x}", "/a/{y.z}")


def test_bad_percent_encoding_names_its_variable() -> None:
    with pytest.raises(templates.BadEscape, match="x"):
        templates.parse("/{x}").values(["%ff"])
