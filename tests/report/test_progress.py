"""Tests of the progress of a run."""

import io

from rich.console import Console

from cluster_sim.report.progress import RunProgress


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_line_has_time_requests_speed_and_rest() -> None:
    """After 2 s of wall time a quarter of the requests and 60 s simulated: 30 x real time, 6 s left."""
    clock = Clock()
    with RunProgress(Console(file=io.StringIO()), 400, clock) as progress:
        clock.now_s += 2.0
        assert progress.line(60_000_000_000, 100) == "simulated 60 s, 100 of 400 requests, 30.0 x real time, 6 s left"


def test_a_single_request_is_singular() -> None:
    """Of one request, and with one of an unknown number, the line has no plural."""
    clock = Clock()
    with RunProgress(Console(file=io.StringIO()), 1, clock) as progress:
        assert progress.line(0, 0) == "simulated 0 s, 0 of 1 request"
    with RunProgress(Console(file=io.StringIO()), None, clock) as progress:
        assert progress.line(0, 1) == "simulated 0 s, 1 request"


def test_without_terminal_a_line_every_few_seconds() -> None:
    """Where there is no terminal updates are plain lines, at most one every five seconds."""
    clock, out = Clock(), io.StringIO()
    with RunProgress(Console(file=out), None, clock) as progress:
        for _ in range(21):
            clock.now_s += 0.5
            progress.update(10**9, 7)
    assert out.getvalue().splitlines() == [
        "simulated 1 s, 7 requests, 0.2 x real time",
        "simulated 1 s, 7 requests, 0.1 x real time",
    ]


def test_terminal_gets_a_bar() -> None:
    """On a terminal the bar shows the line."""
    clock, out = Clock(), io.StringIO()
    with RunProgress(Console(file=out, force_terminal=True, width=150), 10, clock) as progress:
        clock.now_s += 1.0
        progress.update(2 * 10**9, 5)
        progress._bar.refresh()
        assert progress.line(2 * 10**9, 5) in out.getvalue()
