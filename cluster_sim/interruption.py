"""Interruption of a command: Ctrl-C and the signals that end a process raise KeyboardInterrupt, and are remembered.

A library may catch whatever is raised while it imports another one, as pyarrow does around pandas, and the interrupt is
lost.  So what works for long asks now and then whether there was one.  Or it makes an error of its own of it, as
pydantic does of whatever is raised while it writes a model; ``restored`` makes an interrupt of that again.
"""

import atexit
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

from cluster_sim.errors import UnfinishedError

TOGETHER_S: Final = 2.0
"""Signals within this time count as one."""


class Interruption:
    """The handler of these signals, and whether one has come."""

    def __init__(self) -> None:
        self.has_come = False
        self._since_s = 0.0
        self._is_ending = False

    def install(self) -> None:
        """Handle the signals of this process from now on; Ctrl-C stays ignored where the shell has it ignored."""
        self.has_come = self._is_ending = False
        is_default = signal.getsignal(signal.SIGINT) == signal.default_int_handler
        for number in (signal.SIGTERM, signal.SIGHUP, *([signal.SIGINT] if is_default else [])):
            signal.signal(number, self.handle)
        # Python gives the signals their default actions back while it ends, which would replace the exit code.
        atexit.register(_ignore_signals)

    def handle(self, _number: int, _frame: FrameType | None) -> None:
        """Remember the signal, and raise KeyboardInterrupt wherever the program is.

        Signals that follow soon are the same wish, said twice: a second Ctrl-C, or SIGHUP after SIGTERM.
        """
        now_s = time.monotonic()
        if self._is_ending or (self.has_come and now_s < self._since_s + TOGETHER_S):
            return
        self.has_come, self._since_s = True, now_s
        raise KeyboardInterrupt

    def end(self) -> None:
        """Heed no signal any more: the program ends with its own message and code."""
        self._is_ending = True

    def check(self) -> None:
        """Raise KeyboardInterrupt if a signal has come, whoever may have caught it."""
        if self.has_come:
            raise KeyboardInterrupt

    def is_behind(self, error: BaseException | None) -> bool:
        """Return whether an error is an interrupt, or what a library has made of one.

        UnfinishedError is neither: it says what is left.
        """
        if isinstance(error, Exception):
            return self.has_come and not isinstance(error, UnfinishedError)
        return isinstance(error, KeyboardInterrupt)

    @contextmanager
    def restored(self) -> Iterator[None]:
        """Raise KeyboardInterrupt in place of what a library has made of a signal."""
        try:
            yield
        except Exception as error:
            if self.is_behind(error):
                raise KeyboardInterrupt from error
            raise


def _ignore_signals() -> None:
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)


INTERRUPTION: Final = Interruption()
"""That of this process; nothing is handled before a command installs it."""
