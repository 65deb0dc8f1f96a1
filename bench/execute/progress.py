"""What a run tells the person who waits for it."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Told of each run's life; the command line draws it, a test ignores it."""

    def begin(self, label: str, steps: int, done: int) -> None:
        """A run starts, or goes on, with `done` of `steps` behind it."""
        ...

    def step(self, done: int, loss: float | None, score: float | None) -> None:
        """`done` steps are behind; `score` is the last validation score."""
        ...

    def phase(self, text: str) -> None:
        """Something other than training steps is being done."""
        ...

    def settled(self) -> None:
        """One more run of the plan is done, failed or refused, here or elsewhere."""
        ...


class Silent:
    """No progress shown."""

    def begin(self, label: str, steps: int, done: int) -> None:
        pass

    def step(self, done: int, loss: float | None, score: float | None) -> None:
        pass

    def phase(self, text: str) -> None:
        pass

    def settled(self) -> None:
        pass
