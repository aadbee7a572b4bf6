"""Files of a ServeGen client folder (or its tar.gz): for each client, arrivals and lengths by time window."""

import json
import math
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np

from cluster_sim.errors import InputError
from cluster_sim.plain_file import read_bytes, read_stream
from cluster_sim.shown_values import counted
from cluster_sim.workload.files.file_access import compression_of, one_line, shown
from cluster_sim.workload.sampling.random_streams import Floats
from cluster_sim.workload.sampling.weibull_shape import weibull_shape

_TRACE: Final = re.compile(r"(?:^|/)chunk-(\d+)-trace\.csv$")
_DATASET: Final = re.compile(r"(?:^|/)chunk-(\d+)-dataset\.json$")
_MOST_BYTES: Final = 256 << 20
_MOST_RATE: Final = 1e6
_MOST_VALUE: Final = (1 << 31) - 1


@dataclass(frozen=True, slots=True)
class ClientWindow:
    """Arrivals of one client's requests during one window."""

    start_s: float
    request_rate: float
    cv: float
    family: str
    shape: float
    """Shape of the gaps that has the window's CV; the file's own parameters often disagree with its CV."""


@dataclass(frozen=True, slots=True)
class Histogram:
    """A distribution of values with probabilities."""

    values: Floats
    edges: Floats

    def quantiles(self, probability: Floats) -> Floats:
        """Return the values at the given probabilities."""
        places = np.minimum(np.searchsorted(self.edges, probability, side="left"), len(self.values) - 1)
        result: Floats = self.values[places]
        return result


class Client:
    """One client: its windows, and its length histograms read when first needed."""

    def __init__(self, number: int, windows: list[ClientWindow], origin: str, dataset: bytes) -> None:
        self.number = number
        self.windows = windows
        self.origin = origin
        self._dataset = dataset
        self._parsed: dict[tuple[float, str], Histogram | None] = {}

    @cached_property
    def expected_requests(self) -> float:
        """The number of requests in the recorded windows, in units of the window length."""
        return sum(window.request_rate for window in self.windows)

    @cached_property
    def _by_start(self) -> tuple[list[float], list[dict[str, Any]]]:
        try:
            content = json.loads(self._dataset)
            entries = sorted((float(start), value) for start, value in content.items())
            if not entries or not all(isinstance(value, dict) for _, value in entries):
                raise ValueError("not an object of windows")
        except (ValueError, AttributeError, RecursionError, TypeError) as error:
            raise InputError(f"{self.origin}: not a ServeGen dataset ({one_line(error)})") from None
        return [start for start, _ in entries], [value for _, value in entries]

    def histogram(self, time_s: float, field: str) -> Histogram | None:
        """Return the histogram that holds at a time (the first one before it begins); None if there is none."""
        starts, entries = self._by_start
        place = max(int(np.searchsorted(starts, time_s, side="right")) - 1, 0)
        for index in (*range(place, -1, -1), *range(place + 1, len(starts))):
            key = (starts[index], field)
            if key not in self._parsed:
                self._parsed[key] = self._parse(starts[index], field, entries[index].get(field))
            found = self._parsed[key]
            if found is not None:
                return found
        return None

    def _parse(self, start: float, field: str, text: Any) -> Histogram | None:
        if text is None or text in ("{}", ""):
            return None
        try:
            pairs = [
                pair.split(":") for pair in text.strip().removeprefix("{").removesuffix("}").split(",") if pair.strip()
            ]
            values = np.asarray([float(value) for value, _ in pairs])
            weights = np.asarray([float(weight) for _, weight in pairs])
            if not (np.isfinite(values).all() and (values >= 0).all() and (values <= _MOST_VALUE).all()):
                raise ValueError("a value is negative, too large or not finite")
            if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.sum() > 0):
                raise ValueError("a probability is negative or not finite, or all are zero")
        except (ValueError, AttributeError, TypeError) as error:
            raise InputError(f"{self.origin}: window {start:g}, field '{field}': {one_line(error)}") from None
        return Histogram(values, np.cumsum(weights) / weights.sum())


def read_clients(path: Path) -> list[Client]:
    """Return all clients of a folder or tar archive, in order of their number; InputError for wrong content."""
    traces: dict[int, tuple[str, bytes]] = {}
    datasets: dict[int, tuple[str, bytes]] = {}
    for name, content in _files(path):
        for pattern, found in ((_TRACE, traces), (_DATASET, datasets)):
            match = pattern.search(name)
            if match:
                number = int(match.group(1))
                if number in found:
                    raise InputError(f"{path}: client {number} is there twice ({found[number][0]} and {name})")
                found[number] = (name, content)
    if not traces:
        raise InputError(f"{path}: no chunk-<number>-trace.csv in it; a ServeGen client folder is expected")
    clients = []
    for number, (name, content) in sorted(traces.items()):
        if number not in datasets:
            raise InputError(f"{path}: chunk-{number}-dataset.json is missing")
        dataset_name, dataset = datasets[number]
        clients.append(Client(number, _windows(f"{path}: {name}", content), f"{path}: {dataset_name}", dataset))
    return clients


def _files(path: Path) -> Iterator[tuple[str, bytes]]:
    if path.is_dir():
        for file in sorted(path.iterdir()):
            if _TRACE.search(file.name) or _DATASET.search(file.name):
                yield file.name, read_bytes(file, _MOST_BYTES)
        return
    compression_of(path)
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                content = archive.extractfile(member) if member.isfile() else None
                if content is not None:
                    yield member.name, read_stream(path, content, _MOST_BYTES)
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        raise InputError(f"{path}: not a readable tar archive ({one_line(error)})") from None
    except Exception as error:  # zlib.error has no public base of its own
        if type(error).__module__ != "zlib":
            raise
        raise InputError(f"{path}: the compressed archive is damaged ({one_line(error)})") from None


def _windows(origin: str, content: bytes) -> list[ClientWindow]:
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        raise InputError(f"{origin}: not UTF-8 text") from None
    windows: list[ClientWindow] = []
    for line, cells in enumerate(text.split("\n"), start=1):
        if not cells.strip():
            continue
        row = cells.split(",")
        if len(row) != 6:
            raise InputError(f"{origin}: line {line}: {counted(len(row), 'column')} where 6 are expected")
        start, rate, cv = (
            _finite(origin, line, name, row[index]) for index, name in ((0, "start"), (1, "rate"), (2, "CV"))
        )
        if windows and start <= windows[-1].start_s:
            raise InputError(f"{origin}: line {line}, column 'start': {start:g} does not increase")
        family = row[3].strip()
        if rate > 0 and family not in {"Gamma", "Weibull", "Exponential", ""}:
            raise InputError(
                f"{origin}: line {line}, column 'family': unknown '{shown(family)}'; known: Gamma, Weibull"
            )
        for index in (4, 5):
            _finite(origin, line, f"parameter {index - 3}", row[index])
        if rate > _MOST_RATE:
            raise InputError(f"{origin}: line {line}, column 'rate': {rate:g} is greater than {_MOST_RATE:g}")
        windows.append(_window(start, rate, cv, family))
    if not windows:
        raise InputError(f"{origin}: no windows")
    return windows


def _window(start: float, rate: float, cv: float, family: str) -> ClientWindow:
    if cv == 0:
        return ClientWindow(start, rate, cv, "Gamma", 1.0)
    if family == "Weibull":
        return ClientWindow(start, rate, cv, "Weibull", weibull_shape(cv))
    return ClientWindow(start, rate, cv, "Gamma", min(cv**-2.0, 1e6))


def _finite(origin: str, line: int, name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise InputError(f"{origin}: line {line}, column '{name}': '{shown(text)}' is not a number") from None
    if not (math.isfinite(value) and value >= 0):
        raise InputError(f"{origin}: line {line}, column '{name}': {shown(text)} is not a finite number of at least 0")
    return value
