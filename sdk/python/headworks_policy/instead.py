"""What Python has everywhere and a policy has not: `print` speaks to the operator's log, and `time` says what to use."""

from __future__ import annotations

import sys
import time
from typing import Any, Callable

#: What of the module `time` asks for the time, or waits.
NOT_THERE = ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "process_time", "sleep")


class Printed:
    """Where `print` writes: each whole line is a line of the log."""

    def __init__(self, write: Callable[[str], Any]) -> None:
        self._write = write
        self._begun = ""
        #: While the component is being built there is nobody to speak to.
        self.is_running = False

    def write(self, text: str) -> int:
        """Takes a part of a line, or several lines."""
        *lines, self._begun = (self._begun + text).split("\n")
        for line in lines:
            if self.is_running:
                self._write(line)
        return len(text)

    def flush(self) -> None:
        """A line is written when it ends."""


def replace(write: Callable[[str], Any]) -> Printed:
    """Puts them in the place of the language's own."""
    printed = Printed(write)
    sys.stdout = sys.stderr = printed  # type: ignore[assignment]
    for name in NOT_THERE:
        setattr(time, name, not_there(name))
    return printed


def not_there(name: str) -> Callable[..., None]:
    """Says what to use instead of a function of the module `time`."""

    def raise_instead(*_words: object) -> None:
        raise RuntimeError(
            f"a policy has no time.{name}, for its decisions could not be replayed: clock.now_ms() of headworks_policy "
            "has the time"
        )

    return raise_instead
