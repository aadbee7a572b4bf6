"""Fields of a request in a row of JSON: time, lengths, and the hashes of the prompt's blocks."""

from typing import Any, Final

from cluster_sim.shown_values import by_number, counted
from cluster_sim.units import NS_PER_S
from cluster_sim.workload.files.csv_file import MOST_TOKENS_IN_FILE
from cluster_sim.workload.readers.json_rows import Place, instant_ns, number
from cluster_sim.workload.readers.reader_interface import MOST_SECONDS, ReadOptions, ReadReport, value_to_ns
from cluster_sim.workload.sampling.random_streams import stable_id

LABELS: Final = ("timestamp", "input_length", "output_length", "hash_ids")
_SMALL_ID: Final = 1 << 42
"""Hashes below this keep their value within the part's range of segment ids; others are hashed into it."""
_OWN: Final = 1 << 43


class RequestFields:
    """Names and units of the fields, and what one pass over a file has seen of them."""

    def __init__(
        self, unit_s: float, block_tokens: int, options: ReadOptions, pass_over: tuple[Place, ReadReport]
    ) -> None:
        self.timestamp, self.prompt, self.output, self.hashes = (options.labels.get(name, name) for name in LABELS)
        self.unit_ns = (options.timestamp_unit_s or unit_s) * NS_PER_S
        self.most_units = MOST_SECONDS * NS_PER_S / self.unit_ns
        self.block = options.block_tokens or block_tokens
        self._base = options.segment_base
        self._place, self._report = pass_over
        self._known = {self.timestamp, self.prompt, self.output, self.hashes}
        self._shapes: set[tuple[str, ...]] = set()
        self._has_dates: bool | None = None

    def knows(self, *names: str) -> None:
        """Add names of fields that are used."""
        self._known.update(names)

    def note(self, row: dict[str, Any]) -> bool:
        """Report the fields that are not used; return whether a row of these fields comes for the first time."""
        shape = tuple(row)
        if shape in self._shapes:
            return False
        self._shapes.add(shape)
        self._report.unused.update(dict.fromkeys(name for name in shape if name not in self._known))
        return True

    def time_ns(self, row: dict[str, Any]) -> int:
        """Return the time of a row: a number in the format's unit, or a date."""
        value = row.get(self.timestamp)
        is_date = type(value) is str and ":" in value
        if is_date is not self._has_dates:
            if self._has_dates is not None:
                raise self._place.error("dates and numbers are mixed", self.timestamp)
            self._has_dates = self._report.has_instants = is_date
        if is_date:
            return instant_ns(self._place, str(value), self.timestamp)
        return value_to_ns(number(self._place, row, self.timestamp, 0, self.most_units, whole=False), self.unit_ns)

    def lengths(self, row: dict[str, Any]) -> tuple[int, int]:
        """Return the prompt and output tokens of a row."""
        prompt = int(number(self._place, row, self.prompt, 0, MOST_TOKENS_IN_FILE, whole=True))
        return prompt, int(number(self._place, row, self.output, 0, MOST_TOKENS_IN_FILE, whole=True))

    def segments(self, row: dict[str, Any], prompt: int, count: int) -> tuple[tuple[int, int], ...]:
        """Return the content that hashes say of a prompt; ``count`` numbers the rows."""
        hashes = row.get(self.hashes)
        if not hashes or not prompt:
            return ()
        bases = (self._base, self._base + _OWN + count)
        return hash_segments(self._place, hashes, prompt, self.block, bases, self.hashes)


def hash_segments(
    place: Place, hashes: Any, prompt: int, block: int, bases: tuple[int, int], field: str
) -> tuple[tuple[int, int], ...]:
    """Return the prompt's content; a partial last block may lack its hash and is then the request's own."""
    if not isinstance(hashes, list) or not all(type(number) is int for number in hashes):
        raise place.error("is not a list of whole numbers", field)
    if not prompt // block <= len(hashes) <= -(-prompt // block):
        raise place.error(
            f"{counted(len(hashes), 'hash', 'hashes')} of {block} tokens {by_number(len(hashes), 'does', 'do')} not "
            "cover "
            f"a prompt of {prompt} tokens (it takes {-(-prompt // block)}); is block_tokens right?",
            field,
        )
    base, own = bases
    ids = [base + number if 0 <= number < _SMALL_ID else stable_id("hash", base, number) for number in hashes]
    segments = [(segment, block) for segment in ids]
    left = prompt - len(ids) * block
    if left < 0:
        segments[-1] = (ids[-1], block + left)
    elif left > 0:
        segments.append((own, left))
    return tuple(segments)
