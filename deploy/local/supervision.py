"""Keeps processes running: a death is said aloud, and followed by a new start, after a pause that grows each time."""

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Final, NoReturn

from deploy.local.processes import Process, StartError

PAUSES: Final = (0.5, 1.0, 2.0, 4.0)
"""Seconds from the first, second, … death in a row to the next start; one death more, and it is given up."""
QUICK_SECONDS: Final = 30
"""A process that lived longer than this has worked: its next death is a first one."""
_POLL_SECONDS: Final = 0.2

Say = Callable[[str], None]


def watch(children: Sequence[Process], say: Say, pauses: Sequence[float] = PAUSES) -> NoReturn:
    """Start again what dies, until this process is interrupted; raises StartError once one dies again and again."""
    watched = [_Watch(child, say, pauses) for child in children]
    while True:
        for each in watched:
            each.look(time.monotonic())
        time.sleep(_POLL_SECONDS)


@dataclasses.dataclass(slots=True)
class _Watch:
    child: Process
    say: Say
    pauses: Sequence[float]
    begun: float = dataclasses.field(default_factory=time.monotonic)
    deaths: int = 0
    due: float | None = None
    """When it is started again; None while it runs."""
    awaited: bool = False
    """Whether it was started again, and has not answered since."""

    def look(self, now: float) -> None:
        """Notice a death or a return, and start the process again when that is due."""
        if self.due is not None:
            if now >= self.due:
                self.child.start()
                self.begun, self.due, self.awaited = now, None, True
        elif not self.child.alive:
            self._died(now)
        elif self.awaited and self.child.answers():
            self.awaited = False
            self.say(f"{self.child.name} is back (pid {self.child.pid})")

    def _died(self, now: float) -> None:
        self.deaths = self.deaths + 1 if now - self.begun < QUICK_SECONDS else 1
        name, log = self.child.name, self.child.log
        if self.deaths > len(self.pauses):
            raise StartError(f"{name} died {self.deaths} times in a row; the end of {log}:\n{self.child.tail()}")
        pause = self.pauses[self.deaths - 1]
        self.due = now + pause
        self.say(f"{name} died ({self.child.end}); it is started again in {pause:g} s; its log: {log}")
