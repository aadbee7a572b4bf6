"""Objects that travel to other nodes, and the packages and the compiled kernel that a node must have to read them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import ray

from actors.codec import Codec
from actors.run_spec import ReplicaGroupRuntime, RouterRuntime, RunSpec
from cluster_sim.errors import InputError
from cluster_sim.kernel.kernels import UnfitKernelError


@contextmanager
def naming_packages() -> Iterator[None]:
    """Raise InputError, which names the node, if this node lacks a package or the kernel that an object needs."""
    try:
        yield
    except ray.exceptions.RaySystemError as error:
        _raise_named(error.client_exc)
        raise
    except (ImportError, AttributeError, UnfitKernelError) as error:
        _raise_named(error)
        raise


def of_this_node(error: UnfitKernelError) -> InputError:
    """Return what a kernel lacks, with the node that lacks it."""
    return InputError(f"node {ray.util.get_node_ip_address()}: {error}")


def _raise_named(error: object) -> None:
    node = ray.util.get_node_ip_address()
    if isinstance(error, UnfitKernelError):
        raise of_this_node(error) from None
    advice = "install the same packages on every node of the cluster"
    if isinstance(error, ModuleNotFoundError):
        package = (error.name or "").partition(".")[0]
        raise InputError(f"node {node} lacks the package {package!r}, which the study uses; {advice}") from None
    if isinstance(error, ImportError | AttributeError):
        raise InputError(f"node {node} has another version of a package of the study ({error}); {advice}") from None


class StoredRun:
    """A ``RunSpec`` in the object store: stored once per node, where its large tables are read without being copied."""

    def __init__(self, reference: Any) -> None:
        self._reference = reference
        self._run: RunSpec | None = None

    def codec(self) -> Codec:
        """Return the codec of the run's messages."""
        return self._loaded().codec()

    def router_runtime(self) -> RouterRuntime:
        """Build the part in the router actor."""
        return self._loaded().router_runtime()

    def group_runtime(self, indices: Sequence[int], *, is_staged: bool) -> ReplicaGroupRuntime:
        """Build the replicas of one group."""
        return self._loaded().group_runtime(indices, is_staged=is_staged)

    def _loaded(self) -> RunSpec:
        if self._run is None:
            with naming_packages():
                self._run = ray.get(self._reference)
        return self._run
