"""Lines of the package that a command reaches: what tells the fuzzer that a changed file led somewhere new."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final

import cluster_sim

PACKAGE: Final = str(Path(cluster_sim.__file__).parent)

Line = tuple[str, int]
"""A file and the number of a line in it."""


class LineWatch:
    """Records the lines of the package that are reached and were not known before, from ``start`` on.

    Python 3.12 and newer tell of each line once (PEP 669), which costs next to nothing.  Python 3.11 calls a function
    at every line of the functions that still have unknown ones, so there a long run takes several times as long.
    """

    def __init__(self, known: set[Line]) -> None:
        self.found: set[Line] = set()
        self._known = known
        self._is_done: dict[CodeType, bool] = {}

    def start(self) -> None:
        """Begin to record, in this process and for its whole life."""
        if sys.version_info >= (3, 12):
            monitoring = sys.monitoring
            monitoring.use_tool_id(monitoring.COVERAGE_ID, "fuzz")
            monitoring.register_callback(monitoring.COVERAGE_ID, monitoring.events.LINE, self._line_of_code)
            monitoring.set_events(monitoring.COVERAGE_ID, monitoring.events.LINE)
        else:
            sys.settrace(self._call)

    def _line_of_code(self, code: CodeType, number: int) -> Any:
        if code.co_filename.startswith(PACKAGE):
            self._reach((code.co_filename, number))
        return sys.monitoring.DISABLE if sys.version_info >= (3, 12) else None

    def _call(self, frame: FrameType, _event: str, _argument: Any) -> Callable[..., Any] | None:
        """Return what is called at each line of a function, if any of its lines is unknown."""
        code = frame.f_code
        if code not in self._is_done:
            self._is_done[code] = not code.co_filename.startswith(PACKAGE) or all(
                self._is_old((code.co_filename, number)) for _, _, number in code.co_lines() if number is not None
            )
        return None if self._is_done[code] else self._line

    def _line(self, frame: FrameType, event: str, _argument: Any) -> Callable[..., Any]:
        if event == "line":
            self._reach((frame.f_code.co_filename, frame.f_lineno))
        elif event == "return":
            self._is_done.pop(frame.f_code, None)
        return self._line

    def _reach(self, line: Line) -> None:
        if line not in self._known:
            self.found.add(line)

    def _is_old(self, line: Line) -> bool:
        return line in self._known or line in self.found
