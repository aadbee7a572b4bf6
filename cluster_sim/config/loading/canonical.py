"""The canonical forms of a study: the file that repeats a run, and the hash that names it."""

import hashlib
import json
from typing import Any, Final

import yaml

from cluster_sim.config.loading.named_files import content_of
from cluster_sim.config.schema.run import RESULT_KEYS
from cluster_sim.config.schema.study import Study
from cluster_sim.document import FLOAT
from cluster_sim.options import WRITE_PATH, WritePath

HASH_DIGITS: Final = 12
"""Hexadecimal digits of the hash that directories carry."""


class _Dumper(yaml.SafeDumper):
    """Also quotes text that only this program's reader would take for a number."""


_Dumper.add_implicit_resolver("tag:yaml.org,2002:float", FLOAT, None)


def resolved_yaml(study: Study, paths: WritePath = str) -> str:
    """Return the study as YAML with every default written out; loading it gives an equal study.

    ``paths`` writes its files, by their whole paths unless it says otherwise.
    """
    return _text(study.model_dump(mode="json", context={WRITE_PATH: paths}))


def study_text(study: Study, paths: WritePath = str) -> str:
    """Return the study as YAML without the defaults that it leaves open, with ``paths`` as in ``resolved_yaml``."""
    return _text(study.model_dump(mode="json", exclude_unset=True, context={WRITE_PATH: paths}))


def _text(data: dict[str, Any]) -> str:
    body: str = yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
    return body


def _is_said(key: str, value: object) -> bool:
    """Return whether an option counts: a null that stands for a default does not, nor that a run is a full one."""
    return (value is not None or key == "end_s") and (key, value) != ("detail", "high")


def config_hash(study: Study) -> str:
    """Return the hash of everything in the study that can change a result, independent of order and layout.

    Executor, placement, fast-forwarding, the choice of outputs and the ``plan`` block are left out: studies that differ
    in nothing else have equal digests.  Of a file its content counts, not where it lies.
    """
    data = study.model_dump(mode="json", exclude={"plan"}, context={WRITE_PATH: content_of})
    data["run"] = {key: value for key, value in data["run"].items() if key in RESULT_KEYS and _is_said(key, value)}
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:HASH_DIGITS]
