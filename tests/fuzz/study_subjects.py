"""Studies of every part as subjects of the fuzzer, and files that studies name: traces, profiles, devices, models."""

from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any, Final

from cluster_sim.conf_directory import library_path
from cluster_sim.config.schema.axes import AXES
from cluster_sim.hardware.predictors.operator_profile_file import write_profile
from cluster_sim.hardware.predictors.predictor_interface import PREDICTORS
from cluster_sim.registry import Registry
from cluster_sim.routing.policy_interface import ROUTING_POLICIES
from cluster_sim.serving.schedulers.engine_options import ENGINES
from cluster_sim.workload.kind_interface import WORKLOAD_KINDS
from cluster_sim.workload.readers.trace_format import TRACE_READERS
from tests.fleet.drawn_fleets import draw_study
from tests.fuzz.subject import CASES, INLINE, Subject, base_study, study_file
from tests.hardware.predictors.small_profile import small_profile
from tests.hardware.predictors.small_tables import SPLITWISE_HEADER, splitwise_rows, write_vidur_tables
from tests.parts import example_block


def studies() -> Iterator[Subject]:
    for seed in range(40):
        files = study_file(draw_study(Random(seed)))
        yield Subject("study", files, ("study.yaml",), ("validate", "study.yaml"))
        yield Subject("study", files, ("study.yaml",), ("run", "study.yaml", *INLINE))
    for path in sorted((library_path("models").parent / "studies").glob("*.yaml")):
        yield Subject("study", {"study.yaml": path.read_bytes()}, ("study.yaml",), ("validate", "study.yaml"))
    for study, named in _part_studies():
        files = study_file(study) | named
        yield Subject("study", files, ("study.yaml", *named), ("validate", "study.yaml"))
        yield Subject("study", files, ("study.yaml", *named), ("run", "study.yaml", *INLINE))
    sweep = study_file(base_study(sweep={"grid": {"seed": [1, 2], "fleet.pools.0.replicas": [1, 2]}}))
    yield Subject("study", sweep, ("study.yaml",), ("sweep", "study.yaml", "--dry-run"))


def _part_studies() -> Iterator[tuple[dict[str, Any], dict[str, bytes]]]:
    """Yield a study for each part of the axes that a block of a small study can name, with the files of the part."""
    for name in WORKLOAD_KINDS.names():
        yield base_study(workload=_block(WORKLOAD_KINDS, name)), _named(WORKLOAD_KINDS, name)
    for name in ROUTING_POLICIES.names():
        yield base_study(router=_block(ROUTING_POLICIES, name)), _named(ROUTING_POLICIES, name)
    for name in ENGINES.names():
        study = base_study()
        study["fleet"]["pools"][0]["engine"] = _block(ENGINES, name)
        yield study, _named(ENGINES, name)
    for axis in AXES:
        if axis.group.endswith(("arrivals", "length_distributions", "lengths")):
            for name in axis.names():
                study = base_study()
                key = "arrivals" if axis.group.endswith("arrivals") else "lengths"
                block = _block(axis, name)
                study["workload"][key] = (
                    {"prompt": block, "output": block} if axis.group.endswith("distributions") else block
                )
                yield study, _named(axis, name)


def _block(registry: Registry[Any], name: str) -> dict[str, Any]:
    return example_block(registry, name)


def _named(registry: Registry[Any], name: str) -> dict[str, bytes]:
    return {file: text.encode() for file, text in registry.get(name).options.example_files.items()}


def traces() -> Iterator[Subject]:
    for name in TRACE_READERS.names():
        sample = TRACE_READERS.get(name).part.sample
        for chosen in (name, "auto"):
            arguments = ("workload", "describe", "trace.dat", "--format", chosen)
            yield Subject("trace", {"trace.dat": sample}, ("trace.dat",), arguments)
        workload: dict[str, Any] = {"kind": "trace", "path": "trace.dat", "format": name}
        if not TRACE_READERS.get(name).part.has_times:
            workload["arrivals"] = {"kind": "poisson", "request_rate": 9}
        study = base_study(workload=workload)
        yield Subject("trace", study_file(study) | {"trace.dat": sample}, ("trace.dat",), ("validate", "study.yaml"))


def predictor_files(folder: Path) -> Iterator[Subject]:
    write_profile(small_profile(), folder / "operators.parquet")
    own = {
        "operators.parquet": (folder / "operators.parquet").read_bytes(),
        "vllm.yaml": (library_path("profiles") / "vllm.yaml").read_bytes(),
    }
    blocks: list[tuple[dict[str, Any], dict[str, bytes]]] = [
        ({"kind": "table", "path": "operators.parquet"}, {"operators.parquet": own["operators.parquet"]}),
        ({"kind": "physical", "profile": "vllm.yaml"}, {"vllm.yaml": own["vllm.yaml"]}),
    ]
    write_vidur_tables(folder, "vidur")
    tables = {path.name: path.read_bytes() for path in folder.glob("vidur.*")}
    blocks.append(({"kind": "vidur_tables", "directory": ".", "prefix": "vidur"}, tables))
    splitwise = {"kind": "splitwise", "path": "p.csv", "measured_model": "m", "measured_hardware": "h"}
    blocks.append((splitwise, {"p.csv": (SPLITWISE_HEADER + splitwise_rows(1)).encode()}))
    blocks += [(_block(PREDICTORS, name), {}) for name in ("auto", "linear", "roofline", "two_phase")]
    for block, named in blocks:
        files = study_file(base_study(predictor=block)) | named
        targets = tuple(named) or ("study.yaml",)
        yield Subject("profile", files, targets, ("validate", "study.yaml"))
        yield Subject("profile", files, targets, ("run", "study.yaml", *INLINE))


def devices_and_models() -> Iterator[Subject]:
    devices, models = (sorted(library_path(topic).glob("*.yaml")) for topic in ("devices", "models"))
    configurations = sorted(CASES.glob("models/*/config.json"))
    for path in (*devices, *models, *configurations):
        key = "device" if path in devices else "model"
        pool = {"model": "llama-3-8b", "device": "b300", "tensor_parallel": 1} | {key: f"own{path.suffix}"}
        if key == "model" and path.stat().st_size and any(word in path.stem for word in _LARGE):
            pool["tensor_parallel"] = 8
        study = base_study(fleet={"pools": [pool]})
        files = study_file(study) | {f"own{path.suffix}": path.read_bytes()}
        yield Subject("device or model", files, (f"own{path.suffix}",), ("validate", "study.yaml"))


_LARGE: Final = ("deepseek", "405b", "kimi", "glm", "minimax", "qwen3.5", "235b", "scout", "480b", "maverick")
