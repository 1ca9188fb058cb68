"""Checks that are printed as they are made, and counted."""

import dataclasses
import time

import rich.console


@dataclasses.dataclass(slots=True)
class Report:
    """What was checked so far."""

    console: rich.console.Console
    passed: int = 0
    failed: list[str] = dataclasses.field(default_factory=list)
    begun: float = dataclasses.field(default_factory=time.monotonic)

    def step(self, title: str) -> None:
        """Begin a step of the story."""
        self.console.print(f"\n[bold]{title}[/bold]")

    def note(self, text: str) -> None:
        """Show something that happened."""
        self.console.print(f"  [dim]{text}[/dim]", highlight=False)

    def check(self, rule: str, *, expected: object, actual: object) -> None:
        """Note whether a rule holds."""
        if expected == actual:
            self.passed += 1
            self.console.print(f"  [green]✓[/green] {rule}", highlight=False)
        else:
            self.failed.append(rule)
            self.console.print(f"  [red]✗ {rule}[/red]: expected {expected!r}, got {actual!r}", highlight=False)

    def close(self) -> int:
        """Print the last line, and return the exit code of the process."""
        for rule in self.failed:
            self.console.print(f"demo: check failed: {rule}", style="red", highlight=False)
        verdict = f"{self.passed} checks passed" if not self.failed else f"{len(self.failed)} checks FAILED"
        seconds = time.monotonic() - self.begun
        self.console.print(f"\ndemo: {verdict} in {seconds:.0f} s", highlight=False)
        return 1 if self.failed else 0
