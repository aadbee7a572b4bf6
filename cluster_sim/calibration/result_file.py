"""Files of benchmark results: the documents in them, and the lines that messages name."""

import json
import math
import re
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cluster_sim.document import Document
from cluster_sim.errors import InputError
from cluster_sim.hardware.predictors.csv_table import open_text
from cluster_sim.plain_file import read_stream
from cluster_sim.shown_values import MOST_OF_PATH, cut

MOST: Final = 1_000_000_000
"""More requests or tokens than any benchmark has."""
MOST_BYTES: Final = 256 << 20
"""The longest file: results of a hundred thousand requests with every token's time."""
_SPACE: Final = re.compile(r"\s*")


@dataclass(frozen=True, slots=True)
class ResultDocument:
    """One document of a file, and the line that it begins on."""

    path: Path
    data: Any
    line: int
    text: str

    def place(self, *keys: str) -> str:
        """Return file and line of nested keys; of the document where they are not found in its text."""
        at = 0
        for key in keys:
            found = re.compile(rf'["\']?{re.escape(key)}["\']?\s*:').search(self.text, at)
            if found is None:
                return f"{self.path}:{self.line}"
            at = found.start()
        return f"{self.path}:{self.line + self.text.count(chr(10), 0, at)}"

    def wrong(self, keys: tuple[str, ...], right: str, got: Any) -> InputError:
        """Return the error about a value that is not ``right``."""
        return InputError(f"{self.place(*keys)}: {'.'.join(keys)}: must be {right}; got {_short(got)}")

    def value(self, *keys: str) -> Any:
        """Return a nested value; None if a key is absent."""
        found = self.data
        for depth, key in enumerate(keys):
            if found is None:
                return None
            if not isinstance(found, dict):
                raise self.wrong(keys[:depth], "a mapping of keys to values", found)
            found = found.get(key)
        return found

    def number(self, *keys: str) -> float | None:
        """Return a nested number; None if it is absent."""
        found = self.value(*keys)
        if found is None:
            return None
        if not is_number(found):
            raise self.wrong(keys, "a number", found)
        return float(found)

    def limit(self, *keys: str) -> float | None:
        """Return a nested number that may be infinite; None if it is absent, or no limit at all."""
        found = self.value(*keys)
        return None if found in ("inf", math.inf) else self.number(*keys)

    def count(self, *keys: str) -> int | None:
        """Return a nested number of things; None if it is absent."""
        found = self.number(*keys)
        if found is not None and not 0 <= found <= MOST:
            raise self.wrong(keys, f"a number from 0 to {MOST}", found)
        return None if found is None else int(found)

    def needed_count(self, *keys: str) -> float:
        """Return a number of things, or a mean of such, that must be there."""
        self.count(*keys)
        return self.needed(*keys)

    def needed(self, *keys: str) -> float:
        """Return a nested number that must be there."""
        found = self.number(*keys)
        if found is None:
            raise InputError(f"{self.place(*keys[:-1])}: {'.'.join(keys)}: is missing; it must be a number")
        return found

    def text_of(self, *keys: str) -> str | None:
        """Return a nested text; None if it is absent."""
        found = self.value(*keys)
        if found is None or isinstance(found, str):
            return found or None
        raise self.wrong(keys, "text", found)

    def items(self, *keys: str) -> list[Any]:
        """Return a nested list; empty if it is absent."""
        found = self.value(*keys)
        if found is None:
            return []
        if not isinstance(found, list):
            raise self.wrong(keys, "a list", found)
        return found

    def numbers(self, key: str) -> list[float]:
        """Return a list of numbers; empty if it is absent."""
        values = self.items(key)
        for index, value in enumerate(values):
            if not is_number(value):
                raise self.wrong((key,), f"a list of numbers (item {index})", value)
        return values


def read_result(path: Path) -> str:
    """Return the text of a file of results, decompressed and without a byte order mark."""
    try:
        with open_text(path) as stream:
            text: str = read_stream(path, stream, MOST_BYTES)
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: not a UTF-8 text file ({error.reason} at byte {error.start}); "
            "benchmark results are JSON, YAML or CSV"
        ) from None
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read ({cut(str(error), MOST_OF_PATH)})") from None
    return text.removeprefix("\ufeff")


def documents_of(path: Path, text: str) -> list[ResultDocument]:
    """Return the documents of a JSON, JSON-lines or YAML file: one or more JSON values after each other, or one YAML.

    Raises InputError with file and line for text that is neither.
    """
    if path.suffix in {".yaml", ".yml"}:
        return [ResultDocument(path, Document.parse(text, str(path)).data, 1, text)]
    found = []
    decoder = json.JSONDecoder()
    at = _end_of_space(text, 0)
    while at < len(text):
        line = text.count("\n", 0, at) + 1
        try:
            data, end = decoder.raw_decode(text, at)
        except json.JSONDecodeError as error:
            raise InputError(f"{path}:{error.lineno}: not valid JSON: {error.msg}") from None
        except RecursionError:
            raise InputError(f"{path}:{line}: not valid JSON: nested too deeply") from None
        except ValueError as error:  # A number of thousands of digits.
            raise InputError(f"{path}:{line}: not valid JSON: {error}") from None
        found.append(ResultDocument(path, data, line, text[at:end]))
        at = _end_of_space(text, end)
    if not found:
        raise InputError(f"{path}:1: is empty")
    return found


def is_number(value: Any) -> bool:
    """Return whether a value is a finite number."""
    return not isinstance(value, bool) and isinstance(value, int | float) and math.isfinite(value)


def _end_of_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
