"""Directory of a capacity search: ``DIR.partial`` until every configuration has its answer, ``DIR`` then."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Self

from cluster_sim import __version__
from cluster_sim.config.loading.canonical import config_hash
from cluster_sim.config.schema.study import Study
from cluster_sim.errors import InputError
from cluster_sim.plain_file import read_text
from cluster_sim.study.capacity import FOUND, NONE, UNBOUNDED
from cluster_sim.study.replication_store import ReplicationStore
from cluster_sim.study.sweep_directory import FAILED, Row, SweepDirectory, write_text
from cluster_sim.study.sweep_table import write_csv

ANSWERS_FILE: Final = "capacity.json"
TABLE_FILE: Final = "capacity.csv"
SEARCH_FILE: Final = "search.json"
REPLICATIONS_FOLDER: Final = "replications"


def default_directory(base: Study) -> Path:
    """Return the directory of a search that was given none: ``capacity/<name>-<config hash>``."""
    return Path("capacity") / f"{base.name}-{config_hash(base)}"


class CapacityDirectory(SweepDirectory):
    """The files of one search: answers by configuration, and the runs of those that have none yet."""

    results_file = ANSWERS_FILE
    base_file = "capacity.yaml"
    words = "capacity search"
    statuses = (FOUND, NONE, UNBOUNDED, FAILED)

    def begin(self, base: Study, tolerance_ratio: float, *, is_resumed: bool) -> dict[int, Row]:
        """Prepare the directory; return the answers that are there already, by configuration.

        Raises InputError if it holds something else: another study, another tolerance, or the search of another
        release, whose runs need not be the same.
        """
        search = {"version": __version__, "tolerance_ratio": tolerance_ratio}
        done = self.open(base, is_resumed=is_resumed)
        place = self.final if self.is_complete else self.partial
        path = place / SEARCH_FILE
        if not path.exists():
            write_text(path, json.dumps(search) + "\n")
        elif (found := _content(path)) != search:
            raise InputError(f"{place}: holds a search with {_words(found)}, not {_words(search)}; give another --out")
        if not self.is_complete:
            (place / REPLICATIONS_FOLDER).mkdir(exist_ok=True)
        return done

    def __enter__(self) -> Self:
        return self

    def store(self, run_id: str) -> ReplicationStore:
        """Return the runs that a configuration's search has made."""
        return ReplicationStore(self._runs_of(run_id))

    def keep_answer(self, run_id: str, answer: Row) -> None:
        """Write the answer of one configuration, whose runs are not needed any more."""
        self.save(run_id, answer)
        self._runs_of(run_id).unlink(missing_ok=True)

    def complete_with(self, rows: Sequence[Row], head: dict[str, Any]) -> Path:
        """Write the answers and give the directory its name; return it."""
        text = json.dumps({**head, "configurations": list(rows)}, indent=1, allow_nan=False)
        write_text(self.partial / ANSWERS_FILE, text + "\n")
        write_csv([flat_row(row) for row in rows], self.partial / TABLE_FILE)
        shutil.rmtree(self.partial / REPLICATIONS_FOLDER)
        return self.rename()

    def _runs_of(self, run_id: str) -> Path:
        return self.partial / REPLICATIONS_FOLDER / f"{run_id.partition('-')[0]}.msgpack"


def flat_row(row: Row) -> Row:
    """Return a row of ``capacity.json`` as one of ``capacity.csv``: values and figures become columns."""
    figures = row["figures"] or {}
    return {
        "run": row["run"],
        **row["values"],
        **{name: value for name, value in row.items() if name not in ("run", "values", "figures")},
        **{name: estimate["value"] for name, estimate in figures.items()},
    }


def _content(path: Path) -> dict[str, Any]:
    """Return a JSON object; empty if the file is none."""
    try:
        content = json.loads(read_text(path))
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _words(search: dict[str, Any]) -> str:
    return f"tolerance {search.get('tolerance_ratio')} of release {search.get('version')}"
