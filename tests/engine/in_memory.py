"""Executors for tests: frames in memory with random delays, restored snapshots, and processes kept for inspection."""

from collections.abc import Callable, Sequence

from actors.codec import Codec
from actors.frames import FrameKind, Link, pack_reply, pack_window, unpack_reply, unpack_window
from actors.serving_codec import serving_codec
from cluster_sim.engine.group import Group, Reply, Window
from cluster_sim.engine.loop import DirectExchange, Exchange
from cluster_sim.simulation.inline import InlineExecutor
from cluster_sim.simulation.simulation import Processes

Choose = Callable[[int], int]
"""Returns a number below its argument: a study, a placement or the delays of an exchange as drawn by a test."""


class RandomExchange:
    """Windows and replies held back and reordered at will, each one through a real frame and back."""

    def __init__(self, groups: dict[int, Group], codec: Codec, choose: Choose) -> None:
        self._groups = groups
        self._codec = codec
        self._choose = choose
        self._links = {index: (Link("test", 0, index), Link("test", 0, index)) for index in groups}
        self._windows: list[tuple[int, bytes]] = []
        self._replies: list[tuple[int, bytes]] = []

    def send(self, windows: dict[int, Window]) -> None:
        """Put the frames on the way."""
        for index, window in windows.items():
            self._windows.append(
                (index, self._links[index][0].seal(FrameKind.WINDOW, pack_window(self._codec, window)))
            )

    def collect(self) -> list[tuple[int, Reply]]:
        """Let random frames arrive until at least one reply does."""
        while True:
            if self._windows and (not self._replies or self._choose(2)):
                self._serve(*self._windows.pop(self._choose(len(self._windows))))
            elif self._choose(2):
                break
        arrived = []
        while self._replies and (not arrived or self._choose(2)):
            index, frame = self._replies.pop(self._choose(len(self._replies)))
            kind, body = self._links[index][0].open(frame)
            assert kind is FrameKind.REPLY
            arrived.append((index, unpack_reply(self._codec, body)))
        return arrived

    def _serve(self, index: int, frame: bytes) -> None:
        kind, body = self._links[index][1].open(frame)
        assert kind is FrameKind.WINDOW
        reply = self._groups[index].step(unpack_window(self._codec, body))
        self._replies.append((index, self._links[index][1].seal(FrameKind.REPLY, pack_reply(self._codec, reply))))


class KeepingExecutor(InlineExecutor):
    """An inline executor that keeps the processes of its last run."""

    processes: Processes

    def connect(self, processes: Processes) -> Exchange:
        """Keep the processes; call groups directly."""
        self.processes = processes
        return super().connect(processes)


class InMemoryExecutor(InlineExecutor):
    """Runs simulations in this process with their replicas behind frames that random delays reorder."""

    def __init__(self, groups: Sequence[Sequence[int]], choose: Choose) -> None:
        super().__init__(groups)
        self._choose = choose

    def connect(self, processes: Processes) -> Exchange:
        """Return an exchange with random delays."""
        return RandomExchange(processes.groups, serving_codec(), self._choose)


class RestoringExchange(DirectExchange):
    """Calls groups directly, and now and then replaces a group's replicas by what a snapshot of them restores."""

    def __init__(self, groups: dict[int, Group], choose: Choose) -> None:
        super().__init__(groups)
        self._members = {index: list(group.processes.values()) for index, group in groups.items()}
        self._choose = choose

    def send(self, windows: dict[int, Window]) -> None:
        """Step the groups, then restore some."""
        super().send(windows)
        for index in windows:
            if not self._choose(3):
                for replica in self._members[index]:
                    replica.restore(replica.snapshot())


class RestoringExecutor(InlineExecutor):
    """Runs simulations with snapshots taken and restored at random window edges."""

    def __init__(self, choose: Choose) -> None:
        super().__init__()
        self._choose = choose

    def connect(self, processes: Processes) -> Exchange:
        """Return an exchange that restores replicas."""
        return RestoringExchange(processes.groups, self._choose)
