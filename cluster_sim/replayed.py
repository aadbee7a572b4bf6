"""Iterators whose place is a number: after a restart they are made again and advanced to the same place."""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import ClassVar, Generic, Self, TypeVar

Item = TypeVar("Item")


class Replayed(Generic[Item]):
    """An iterator of what ``make`` yields, which must be the same at every call."""

    SNAPSHOT_WITHOUT: ClassVar = ("_rest",)

    def __init__(self, make: Callable[[], Iterator[Item]]) -> None:
        self._make = make
        self._rest = make()
        self.count = 0
        """Items taken so far."""

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Item:
        item = next(self._rest)
        self.count += 1
        return item

    def after_restore(self) -> None:
        """Make the iterator again and take as many items as had been taken."""
        self._rest = self._make()
        next(islice(self._rest, self.count, self.count), None)
