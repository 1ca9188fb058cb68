"""Text in the cells of a spreadsheet, which must never be taken for a formula.

A program that opens a CSV file runs what begins with `=`, `+`, `-` or `@`, some also behind blanks, quotes or line
breaks; and one that expects another separator splits a cell at it, whatever quotes say. So an apostrophe goes before
such a beginning, at the start of a text and after everything that may separate. Programs show it, but run nothing.
"""

import re
from typing import Final

_SEPARATORS: Final = r",;|\t\r\n\v\f\0"
_BEGINS: Final = rf"(?:\A|(?<=[{_SEPARATORS}]))"
_FORMULA: Final = r"""(?=[\s\ufeff"'`]*[=+\-@\t\r\n\0＝＋－＠])"""  # noqa: RUF001  # some programs read the wide ones
_UNSAFE: Final = re.compile(_BEGINS + _FORMULA)


def escape(text: str) -> str:
    """Return a text that no program takes for a formula."""
    return _UNSAFE.sub("'", text)
