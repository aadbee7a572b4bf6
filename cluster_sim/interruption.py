"""Interruption of a command: Ctrl-C and the signals that end a process raise KeyboardInterrupt, and are remembered.

A library may catch whatever is raised while it imports another one, as pyarrow does around pandas, and the interrupt is
lost.  So what works for long asks now and then whether there was one.
"""

import signal
from types import FrameType
from typing import Final


class Interruption:
    """The handler of these signals, and whether one has come."""

    def __init__(self) -> None:
        self.has_come = False

    def install(self) -> None:
        """Handle the signals of this process from now on; Ctrl-C stays ignored where the shell has it ignored."""
        self.has_come = False
        is_default = signal.getsignal(signal.SIGINT) == signal.default_int_handler
        for number in (signal.SIGTERM, signal.SIGHUP, *([signal.SIGINT] if is_default else [])):
            signal.signal(number, self.handle)

    def handle(self, _number: int, _frame: FrameType | None) -> None:
        """Remember the signal, and raise KeyboardInterrupt wherever the program is."""
        self.has_come = True
        raise KeyboardInterrupt

    def check(self) -> None:
        """Raise KeyboardInterrupt if a signal has come, whoever may have caught it."""
        if self.has_come:
            raise KeyboardInterrupt


INTERRUPTION: Final = Interruption()
"""That of this process; nothing is handled before a command installs it."""
