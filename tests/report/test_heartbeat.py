"""Sign of life of a long command."""

import threading

from cluster_sim.report.heartbeat import Heartbeat


def test_silence_is_broken_and_lines_are_passed_on() -> None:
    """After a silence the state is told, as it is at that moment; lines of the command come at once, and alone."""
    lines: list[str] = []
    beats = threading.Semaphore(0)

    def tell(text: str) -> None:
        lines.append(text)
        beats.release()

    with Heartbeat(tell, silence_s=0.01) as heartbeat:
        assert beats.acquire(timeout=30)
        heartbeat.watch(lambda: "3 runs made")
        for _ in range(20):  # One that was on its way may still have the earlier state.
            assert beats.acquire(timeout=30)
            if lines[-1].endswith(" s: 3 runs made"):
                break
    assert lines[0].endswith(" s: reading the study and its load")
    assert lines[-1].endswith(" s: 3 runs made")
    count = len(lines)
    with Heartbeat(tell, silence_s=3600) as heartbeat:
        heartbeat.tell("met after 1 run")
    assert lines[count:] == ["met after 1 run"]


def test_nobody_reads() -> None:
    """A pipe that is closed ends the sign of life, without a traceback of its thread."""
    told = threading.Event()

    def tell(_: str) -> None:
        told.set()
        raise BrokenPipeError

    with Heartbeat(tell, silence_s=0.01) as heartbeat:
        assert told.wait(30)
        heartbeat._thread.join(30)
        assert not heartbeat._thread.is_alive()
