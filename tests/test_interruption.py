"""Interruption: signals raise KeyboardInterrupt, and are remembered where something catches it."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Annotated

import pytest
from pydantic import BaseModel, PlainSerializer

from cluster_sim.errors import UnfinishedError
from cluster_sim.interruption import Interruption


@pytest.fixture
def interruption() -> Iterator[Interruption]:
    """An interruption whose signals are this process's until the test ends."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    for number in numbers:
        signal.signal(number, signal.default_int_handler)
    yield Interruption()
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_lost_interrupt_is_found(interruption: Interruption, number: signal.Signals) -> None:
    """A signal whose exception a library swallows raises KeyboardInterrupt again at the next check, and each later."""
    interruption.install()
    interruption.check()
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), number)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            interruption.check()
    os.kill(os.getpid(), number)  # Soon after the first one, it is the same wish.
    interruption.install()
    interruption.check()


def test_ignored_ctrl_c_stays_ignored(interruption: Interruption) -> None:
    """A command that a shell starts in the background, where Ctrl-C is ignored, goes on after SIGINT."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    interruption.install()
    os.kill(os.getpid(), signal.SIGINT)
    interruption.check()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_signals_said_twice(interruption: Interruption, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second signal within 2 s is the first one said again, a later one counts, and none does at the end."""
    now_s = [10.0]
    monkeypatch.setattr(time, "monotonic", lambda: now_s[0])
    interruption.install()
    for later_s, counts in ((0.0, True), (1.9, False), (2.1, True), (9.0, True)):
        now_s[0] = 10.0 + later_s
        with pytest.raises(KeyboardInterrupt) if counts else nullcontext():
            os.kill(os.getpid(), signal.SIGINT)
    interruption.end()
    now_s[0] = 100.0
    os.kill(os.getpid(), signal.SIGINT)


def _interrupted(value: str) -> str:
    os.kill(os.getpid(), signal.SIGTERM)
    return value


class _Written(BaseModel):
    """A model whose writing is interrupted."""

    name: Annotated[str, PlainSerializer(_interrupted)]


def test_an_interrupt_that_a_library_has_changed(interruption: Interruption) -> None:
    """Pydantic's error of a signal while a model is written becomes KeyboardInterrupt again; other errors stay."""
    interruption.install()
    with pytest.raises(ValueError, match="its own"), interruption.restored():
        raise ValueError("its own")
    with pytest.raises(KeyboardInterrupt), interruption.restored():
        _Written(name="a").model_dump()
    with pytest.raises(UnfinishedError, match="what is left"), interruption.restored():
        raise UnfinishedError("what is left")
