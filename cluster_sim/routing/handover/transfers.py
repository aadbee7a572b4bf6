"""Transfers between replicas over shared links, in integer arithmetic.

Bandwidth is divided max-min fairly, as long flows of one transport share it: all transfers grow together until a link
is full, those on it keep that rate, and the others go on (progressive filling; Bertsekas and Gallager, Data Networks,
6.5.2).  Rates are whole bytes per second and work is kept in bytes times ns per s, so the order in which transfers
are looked at changes nothing.

The rates change when a transfer begins to move bytes, ends or is aborted, or when a link changes.  ``generation``
counts these changes: who has scheduled the next of them for ``next_ns`` ignores it if the generation is another one
then.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from cluster_sim.hardware.interconnect.transfer_path import LinkId
from cluster_sim.units import NS_PER_S


class TransferKey(NamedTuple):
    """The transfer of a part of a request's KV cache."""

    request_id: int
    attempt: int
    """Of the leg that receives."""
    part: int
    """Counts the parts of one hand-over."""


class _Transfer:
    __slots__ = ("begin_ns", "left", "links", "rate")

    def __init__(self, links: tuple[LinkId, ...], size_bytes: int, begin_ns: int) -> None:
        self.links = links
        self.left = size_bytes * NS_PER_S
        self.begin_ns = begin_ns
        self.rate = 0
        """Bytes per second; 0 until it begins."""


class Transfers:
    """Transfers under way over links of which ``capacities`` gives the bytes per second."""

    def __init__(self, capacities: Mapping[LinkId, int]) -> None:
        assert all(capacity >= 0 for capacity in capacities.values())
        self._capacities = dict(capacities)
        self._transfers: dict[TransferKey, _Transfer] = {}
        """In the order of their starts."""
        self._now_ns = 0
        self.generation = 0

    def __len__(self) -> int:
        return len(self._transfers)

    def __contains__(self, key: TransferKey) -> bool:
        return key in self._transfers

    def start(self, key: TransferKey, links: Iterable[LinkId], size_bytes: int, begin_ns: int, now_ns: int) -> None:
        """Start a transfer that moves ``size_bytes`` bytes from ``begin_ns`` on, over every one of ``links``."""
        assert key not in self._transfers
        assert begin_ns >= now_ns
        assert size_bytes >= 0
        self._progress(now_ns)
        transfer = _Transfer(tuple(links), size_bytes, begin_ns)
        assert transfer.links
        self._transfers[key] = transfer
        self._share()

    def abort(self, key: TransferKey, now_ns: int) -> None:
        """Forget a transfer, which may have ended."""
        if key in self._transfers:
            self._progress(now_ns)
            del self._transfers[key]
            self._share()

    def has_link(self, link: LinkId) -> bool:
        """Whether it is known what a link carries."""
        return link in self._capacities

    def capacity(self, link: LinkId) -> int:
        """Return what a link that is known carries at present, in bytes per second."""
        return self._capacities[link]

    def set_capacity(self, link: LinkId, bytes_per_s: int, now_ns: int) -> None:
        """Change what a link carries; 0 stops it."""
        assert bytes_per_s >= 0
        self._progress(now_ns)
        self._capacities[link] = bytes_per_s
        self._share()

    def next_ns(self) -> int:
        """Return when the next transfer begins to move bytes or ends; -1 if nothing will happen by itself."""
        times = [self._due_ns(transfer) for transfer in self._transfers.values()]
        return min((time_ns for time_ns in times if time_ns >= 0), default=-1)

    def complete(self, now_ns: int) -> list[TransferKey]:
        """Bring everything to ``now_ns``, at most ``next_ns``, and return what has ended, in order of the starts."""
        self._progress(now_ns)
        ended = [key for key, transfer in self._transfers.items() if transfer.begin_ns <= now_ns and transfer.left <= 0]
        for key in ended:
            del self._transfers[key]
        self._share()
        return ended

    def rate(self, key: TransferKey) -> int:
        """Return the present rate of a transfer in bytes per second."""
        return self._transfers[key].rate

    def _due_ns(self, transfer: _Transfer) -> int:
        if transfer.begin_ns > self._now_ns:
            return transfer.begin_ns
        if transfer.left <= 0:
            return self._now_ns
        return self._now_ns - (-transfer.left // transfer.rate) if transfer.rate else -1

    def _progress(self, now_ns: int) -> None:
        """Move bytes at the present rates up to ``now_ns``."""
        assert now_ns >= self._now_ns
        passed_ns = now_ns - self._now_ns
        self._now_ns = now_ns
        if passed_ns:
            for transfer in self._transfers.values():
                transfer.left -= transfer.rate * passed_ns

    def _share(self) -> None:
        """Divide every link among the transfers that move bytes."""
        self.generation += 1
        now_ns = self._now_ns
        users: dict[LinkId, list[_Transfer]] = {}
        for transfer in self._transfers.values():
            transfer.rate = 0
            if transfer.begin_ns <= now_ns and transfer.left > 0:
                for link in transfer.links:
                    users.setdefault(link, []).append(transfer)
        left = {link: self._capacities[link] for link in users}
        while users:
            link = min(users, key=lambda link: (left[link] // len(users[link]), link))
            rate = left[link] // len(users[link])
            for transfer in users.pop(link):
                transfer.rate = rate
                for other in transfer.links:
                    if other in users:
                        left[other] -= rate
                        users[other].remove(transfer)
                        if not users[other]:
                            del users[other]
