"""Choice of the kernel, and what a run says of it."""

import pickle
from dataclasses import replace

import pytest

from cluster_sim.config.loading.canonical import config_hash
from cluster_sim.errors import InputError
from cluster_sim.kernel import binary, kernels
from cluster_sim.kernel.names import KERNEL
from cluster_sim.serving.schedulers.engine_options import ENGINES
from cluster_sim.serving.schedulers.vllm_v1 import VllmV1
from cluster_sim.simulation.plan import make_plan
from tests.actors.matrix import small_study
from tests.kernel.both import needs_binary


def kernel_of(name: str) -> kernels.Kernel:
    """Return the kernel of a study that names one."""
    study = small_study("round_robin")
    chosen = study.model_copy(update={"run": study.run.model_copy(update={"kernel": name})})
    return make_plan(chosen).simulation().kernel


def test_the_kernel_changes_no_hash() -> None:
    """The configuration hash leaves ``run.kernel`` out."""
    study = small_study("round_robin")
    chosen = study.model_copy(update={"run": study.run.model_copy(update={"kernel": "python"})})
    assert config_hash(chosen) == config_hash(study)


def test_python_is_python() -> None:
    """What is asked for needs no reason, and the environment may ask for it too, as all tests here do."""
    assert (kernel_of("python").name, kernel_of("python").reason) == ("python", "")
    assert kernel_of("auto").name == "python"


@needs_binary
def test_auto_takes_the_compiled_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is there and fits; its replicas are compiled, and another process builds its own."""
    monkeypatch.delenv(kernels.VARIABLE)
    assert kernel_of("auto").name == kernel_of("compiled").name == "compiled"
    assert pickle.loads(pickle.dumps(kernel_of("auto"))).name == "compiled"
    study = small_study("round_robin")
    simulation = make_plan(study).simulation()
    replica = simulation.build_replica(0, simulation.observation)
    assert type(replica).__module__ == f"{KERNEL}.serving.replica"
    assert type(replica.log).__module__ == f"{KERNEL}.recording.replica_log"


def test_a_process_without_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that a study names is not replaced by Python where it is sent; another one is, and says why."""
    monkeypatch.setattr(binary, "fault", lambda: "there is none here")
    sent = pickle.dumps(kernels.CompiledKernel(is_required=True))
    with pytest.raises(kernels.UnfitKernelError, match=r"^run\.kernel: compiled asks .*, but there is none here"):
        pickle.loads(sent)
    chosen = pickle.loads(pickle.dumps(kernels.CompiledKernel()))
    assert (chosen.name, chosen.reason) == ("python", "there is none here")


@needs_binary
def test_a_class_from_outside_keeps_the_run_in_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that is not among the compiled modules is no error, unless the study insists."""

    class Outside(VllmV1):
        """An engine from elsewhere."""

    monkeypatch.delenv(kernels.VARIABLE)
    entry = ENGINES.get("vllm_v1")
    monkeypatch.setitem(ENGINES._entries, "vllm_v1", replace(entry, part=Outside))
    kernel = kernel_of("auto")
    assert kernel.name == "python"
    assert kernel.reason.startswith("pool 'main' cannot do with the compiled kernel: ")
    with pytest.raises(InputError, match=r"^run\.kernel: pool 'main' cannot do with the compiled kernel: "):
        kernel_of("compiled")
