"""Cases of the fuzzer: a subject with its files mutated, some of them further from where an earlier case had led."""

import importlib
import pkgutil
import shutil
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Final, NamedTuple

import cluster_sim
from tests.fuzz.guarded import LONG, Ended, fault_of, run_guarded
from tests.fuzz.line_watch import Line
from tests.fuzz.mutations import mutated
from tests.fuzz.subject import Subject, is_document

MOST_STEPS: Final = 8
"""Longest row of mutations of one case."""


class Case(NamedTuple):
    """A subject, by its number, and the seeds of the mutations that are made of it one after the other."""

    subject: int
    seeds: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.subject}:{','.join(map(str, self.seeds))}"

    @classmethod
    def parse(cls, text: str) -> "Case":
        """Return the case that was printed; raises ValueError for another text."""
        subject, _, seeds = text.partition(":")
        return cls(int(subject), tuple(int(seed) for seed in seeds.split(",")))


class Outcome(NamedTuple):
    """How a case ended."""

    case: Case
    subject: Subject
    ended: Ended
    fault: str

    @property
    def result(self) -> str:
        """The exit code, or that the run was longer than a case may be."""
        return "a longer run" if self.ended.code in LONG else f"exit {self.ended.code}"


class Cases:
    """Draws cases: half of them new ones, half a mutation more of one that had reached lines no other had.

    Cases are remembered by their seeds alone, and a subject and seeds repeat a case.
    """

    def __init__(self, subjects: Sequence[Subject], seed: int, topics: Sequence[str] | None = None) -> None:
        """``topics`` leave out the subjects of all others."""
        self._subjects = subjects
        self._draw = Random(seed)
        self._by_topic: defaultdict[str, list[int]] = defaultdict(list)
        for number, subject in enumerate(subjects):
            if topics is None or subject.topic in topics:
                self._by_topic[subject.topic].append(number)
        self._leading: defaultdict[str, list[Case]] = defaultdict(list)
        self.known: set[Line] = set()
        """Lines that cases have reached."""

    def draw(self) -> Case:
        """Return the next case."""
        topic = self._draw.choice(sorted(self._by_topic))
        seed = self._draw.getrandbits(32)
        leading = self._leading[topic]
        if leading and self._draw.random() < 0.5:
            # The latest ones have led furthest.
            base = leading[-1 - int(len(leading) * self._draw.random() ** 2)]
            return Case(base.subject, (*base.seeds, seed))
        return Case(self._draw.choice(self._by_topic[topic]), (seed,))

    def play_next(self, folder: Path, *, is_command: bool = False) -> Outcome:
        """Play the next case in ``folder`` and learn from it; with ``is_command`` as a user starts the command."""
        outcome = play(self._subjects, self.draw(), folder, self.known, is_command=is_command)
        if outcome.ended.lines:
            self.known |= outcome.ended.lines
            if len(outcome.case.seeds) < MOST_STEPS:
                self._leading[outcome.subject.topic].append(outcome.case)
        return outcome

    @property
    def leading(self) -> int:
        """The number of cases that others go on from."""
        return sum(map(len, self._leading.values()))


def preload() -> None:
    """Import every module, so that forked children need not."""
    for module in pkgutil.walk_packages(cluster_sim.__path__, "cluster_sim."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)


def play(
    subjects: Sequence[Subject], case: Case, folder: Path, known: set[Line] | None = None, *, is_command: bool = False
) -> Outcome:
    """Play a case in ``folder``, which is made anew; with ``known`` lines its end tells which others it reached."""
    subject = subjects[case.subject]
    write_files(subject, case, folder)
    before = {path.name for path in folder.iterdir()} | subject.keeps
    is_command = is_command and not subject.needs_ray
    ended = run_guarded(subject.arguments, folder, known=known, is_command=is_command)
    if ended.code in LONG and known is not None and not subject.may_run_long:
        # Perhaps because it was watched.
        return play(subjects, case, folder)
    fault = "" if subject.may_run_long and ended.code in LONG else fault_of(ended, before, folder, subject.orderly)
    return Outcome(case, subject, ended, fault)


def write_files(subject: Subject, case: Case, folder: Path) -> None:
    """Write the files of a case into ``folder``, which is made anew."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    files = dict(subject.files)
    for seed in case.seeds:
        draw = Random(seed)
        name = draw.choice(subject.targets)
        files[name] = mutated(files[name], draw, is_document=is_document(name))
    for file, content in files.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(content)
