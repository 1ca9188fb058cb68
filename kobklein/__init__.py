"""The toolkit both services and the gateway stand on; the code generated from `protos/kobklein` lands beside it."""

from typing import Final

VERSION: Final = "0.1.0"
"""The version of the platform, as in pyproject.toml."""
