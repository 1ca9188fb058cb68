"""Form bodies and query strings with nested brackets: `metadata[key]=v`, `expand[]=a`, `items[0][id]=b`."""

import re
from urllib.parse import parse_qsl

from deploy.sandbox import errors

Raw = str | dict[str, "Raw"]
Form = dict[str, Raw]

FIELD_LIMIT = 1000
DEPTH_LIMIT = 8

_NAME = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")


def decode(text: bytes) -> Form:
    """Nested values, all still text; lists are dictionaries keyed by their position.

    Raises InvalidParameter for broken brackets, bad UTF-8, or a name that is both a value and a dictionary.
    """
    form: Form = {}
    try:
        pairs = parse_qsl(text.decode("ascii"), keep_blank_values=True, max_num_fields=FIELD_LIMIT, errors="strict")
    except ValueError as error:
        raise errors.InvalidParameter("Invalid request: the body is not a valid form encoding.") from error
    for name, value in pairs:
        if "[" in name or "]" in name:
            _insert(form, name, value)
        else:
            form[name] = value
    return form


def _insert(form: Form, name: str, value: str) -> None:
    *parents, last = _keys(name)
    node = form
    for key in parents:
        child = node.setdefault(key, {})
        if isinstance(child, str):
            raise errors.InvalidParameter("Invalid request: a value and a dictionary have one name.", param=name)
        node = child
    node[last or str(len(node))] = value


def _keys(name: str) -> list[str]:
    match = _NAME.fullmatch(name)
    if match is None:
        raise errors.InvalidParameter("Invalid request: unbalanced brackets in a parameter's name.", param=name)
    head, tail = match.groups()
    keys = [head, *tail[1:-1].split("][")]
    if len(keys) > DEPTH_LIMIT:
        raise errors.InvalidParameter("Invalid request: a parameter is nested too deep.", param=name)
    return keys
