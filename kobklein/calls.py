"""The call being served: who makes it, by which name it is logged, and what came with it."""

import contextvars
import dataclasses
import math
from typing import Final

from kobklein import auth, contract, errors

CLIENT_ADDRESS: Final = "x-client-address"
"""Metadata with the address that a call came from, where another process of ours made it for a client."""


@dataclasses.dataclass(slots=True)
class Call:
    """What the interceptor knows of a call before its servicer runs."""

    caller: auth.Caller | None
    unrestricted: bool
    """Whether the caller may act for every subject and see every resource."""
    request_id: str
    idempotency_key: str = ""
    """Empty for a call that is not protected against repetition."""
    client: str = ""
    """The address that the call came from, behind the gateway too; empty where it is not known."""
    deadline: float = math.inf
    """When the caller must have an answer, by the clock of the event loop."""
    replayed: bool = False
    """Set by the idempotency store when the answer is that of an earlier call."""
    unrestricted_roles: frozenset[contract.Role] = frozenset()
    """The roles whose callers may act for every subject."""
    notice: str = ""
    """A fault in a call that is answered nevertheless; its log line is then a warning with this text."""

    @property
    def subject(self) -> str:
        """The caller's id; empty for an anonymous call."""
        return self.caller.subject if self.caller else ""

    @property
    def owner(self) -> str | None:
        """The subject whose resources alone the caller may see; None for every subject's."""
        return None if self.unrestricted else self.subject

    def denial(self, what: str) -> errors.PermissionDenied:
        """Return the refusal of `what`, which only a caller who may act for every subject may do."""
        return auth.denial(what, self.unrestricted_roles, self.caller)


KEY: Final = "idempotency-key"
"""Metadata with which a call is recognised when it is repeated."""
KEY_IS_MADE: Final = "idempotency-key-made"
"""Metadata by which the gateway says that the key is its own, since the client gave none."""

_current: contextvars.ContextVar[Call] = contextvars.ContextVar("call")


def current() -> Call:
    """Return the call being served; raises LookupError outside of one."""
    return _current.get()


def find() -> Call | None:
    """Return the call being served; None outside of one."""
    return _current.get(None)


def enter(call: Call) -> contextvars.Token[Call]:
    """Make `call` the current one in this task."""
    return _current.set(call)


def leave(token: contextvars.Token[Call]) -> None:
    """Undo `enter`."""
    _current.reset(token)
