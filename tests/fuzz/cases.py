"""Cases of the fuzzer: a subject with mutated files, played in a folder of its own."""

import importlib
import pkgutil
import shutil
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import NamedTuple

import cluster_sim
from tests.fuzz.guarded import LONG, Ended, fault_of, run_guarded
from tests.fuzz.mutations import mutated
from tests.fuzz.subjects import Subject, is_document


class Outcome(NamedTuple):
    """How a case ended."""

    subject: Subject
    ended: Ended
    fault: str

    @property
    def result(self) -> str:
        """The exit code, or that the run was longer than a case may be."""
        return "a longer run" if self.ended.code in LONG else f"exit {self.ended.code}"


def preload() -> None:
    """Import every module, so that forked children need not."""
    for module in pkgutil.walk_packages(cluster_sim.__path__, "cluster_sim."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)


def play(subjects: Sequence[Subject], seed: int, number: int, folder: Path) -> Outcome:
    """Play case ``number`` of ``seed`` in ``folder``, which is made anew."""
    draw = Random(f"{seed}/{number}")
    topics = sorted({subject.topic for subject in subjects})
    topic = draw.choice(topics)
    subject = draw.choice([one for one in subjects if one.topic == topic])
    shutil.rmtree(folder, ignore_errors=True)
    files = dict(subject.files)
    name = draw.choice(subject.targets)
    files[name] = mutated(files[name], draw, is_document=is_document(name))
    for file, content in files.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(content)
    before = {path.name for path in folder.iterdir()}
    ended = run_guarded(subject.arguments, folder)
    if subject.may_run_long and ended.code in LONG:
        return Outcome(subject, ended, "")
    return Outcome(subject, ended, fault_of(ended, before, folder))
