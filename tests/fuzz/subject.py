"""A subject of the fuzzer, and the small study that subjects are made of."""

import dataclasses
from pathlib import Path
from typing import Any, Final

import yaml

CASES: Final = Path(__file__).resolve().parents[3] / "shared" / "cases" / "files"
"""Files of other tools, where they are."""
INLINE: Final = ("--executor", "inline", "--out", "out")


@dataclasses.dataclass(frozen=True)
class Subject:
    """A folder of files, of which ``targets`` are mutated, and the arguments that read it."""

    topic: str
    files: dict[str, bytes]
    targets: tuple[str, ...]
    arguments: tuple[str, ...]

    @property
    def may_run_long(self) -> bool:
        """Whether another value may ask for more work than a command has time for: that is no fault."""
        return self.arguments[0] in ("run", "sweep", "capacity", "plan", "calibrate")

    @property
    def needs_ray(self) -> bool:
        """Whether the command starts Ray where it is not forked: that takes longer than a case may."""
        return self.arguments[0] in ("sweep", "capacity") and "--dry-run" not in self.arguments

    @property
    def keeps(self) -> frozenset[str]:
        """What may be left although the input is wrong: the results of searches that no fleet or load fulfils."""
        return frozenset({"out"}) if self.arguments[0] in ("capacity", "plan") else frozenset()

    @property
    def orderly(self) -> tuple[int, ...]:
        """Exit codes of an orderly end: a plan may have no time for an answer."""
        return (0, 2, 3) if self.arguments[0] == "plan" else (0, 2)


def is_document(name: str) -> bool:
    """Return whether a file is a YAML or JSON document."""
    return name.endswith((".yaml", ".yml", ".json"))


def base_study(**blocks: Any) -> dict[str, Any]:
    """Return a small study with some blocks replaced."""
    study: dict[str, Any] = {
        "name": "small",
        "workload": {
            "kind": "synthetic",
            "count": 20,
            "arrivals": {"kind": "poisson", "request_rate": 20},
            "lengths": {"prompt": {"kind": "fixed", "value": 90}, "output": {"kind": "fixed", "value": 9}},
        },
        "fleet": {"pools": [{"model": "llama-3-8b", "device": "h100-sxm", "engine": {"num_kv_blocks": 800}}]},
        "router": {"policy": "least_outstanding"},
        "predictor": {"kind": "roofline"},
    }
    return study | blocks


def study_file(study: dict[str, Any]) -> dict[str, bytes]:
    """Return the file of a study."""
    return {"study.yaml": yaml.safe_dump(study, sort_keys=False).encode()}


def file_contents(folder: Path, name: str) -> dict[str, bytes]:
    """Return the files of a folder, as files of a folder called ``name``."""
    return {
        f"{name}/{path.relative_to(folder)}": path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }
