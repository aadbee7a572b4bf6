"""Load curve: the requests of a workload by model and time, for the scaler that knows the load to come."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from cluster_sim.workload.request import Request


class LoadBin(NamedTuple):
    """What arrives in one bin of time."""

    requests: int = 0
    prompt_tokens: int = 0
    output_tokens: int = 0


class LoadCurve:
    """Arrivals in bins of equal length from 0 on."""

    def __init__(self, bin_ns: int, bins: Mapping[str, Mapping[int, LoadBin]]) -> None:
        """``bins`` holds the bins that are not empty, by model ("" for requests that name none) and number."""
        assert bin_ns > 0
        self.bin_ns = bin_ns
        self._bins = bins

    @classmethod
    def of(cls, chunks: Iterable[list[Request]], bin_ns: int) -> "LoadCurve":
        """Count requests; a bin's number is its start over ``bin_ns``."""
        bins: dict[str, dict[int, LoadBin]] = {}
        for chunk in chunks:
            for request in chunk:
                by_number = bins.setdefault(request.attributes.model, {})
                number = request.arrival_ns // bin_ns
                requests, prompt, output = by_number.get(number, LoadBin())
                by_number[number] = LoadBin(
                    requests + 1, prompt + request.prompt_tokens, output + request.output_tokens
                )
        return cls(bin_ns, bins)

    def peak(self, models: Iterable[str], from_ns: int, to_ns: int) -> LoadBin:
        """Return the most of each figure in any bin that [from_ns, to_ns) touches, summed over ``models``."""
        most = LoadBin()
        chosen = [self._bins[model] for model in models if model in self._bins]
        for number in range(max(0, from_ns) // self.bin_ns, (to_ns - 1) // self.bin_ns + 1):
            totals = [sum(figures) for figures in zip(*(bins.get(number, LoadBin()) for bins in chosen), strict=True)]
            if totals:
                most = LoadBin(*(max(pair) for pair in zip(most, totals, strict=True)))
        return most
