"""Exposition of a run: the one definition of its metric families, and the pages made of them.

Engines have the names of the server that they simulate (``vllm_names``, ``sglang_names``), the router those of llm-d's
endpoint picker (``router_names``), everything else is ``cluster_sim_*`` (``simulation_names``).  Every series has the
label ``run``, so that two runs in one Prometheus stay apart.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from cluster_sim.metrics.exposition.engine_group import Engine, EngineGroup, Names, names_of
from cluster_sim.metrics.exposition.family import Family, Labels
from cluster_sim.metrics.exposition.router_names import RouterSeries
from cluster_sim.metrics.exposition.sglang_names import sglang_families
from cluster_sim.metrics.exposition.simulation_names import SimulationSeries
from cluster_sim.metrics.exposition.vllm_names import vllm_families
from cluster_sim.metrics.live import ENGINE_LIMIT, EngineMembers, LiveSnapshot
from cluster_sim.metrics.metrics_options import NamesChoice
from cluster_sim.metrics.request_totals import rank_row
from cluster_sim.metrics.run_metadata import RunMetadata


class Exposition:
    """The metric families of one run.

    ``run`` is the label of that name; ``run_labels`` describe the run in ``cluster_sim_run_info``.
    """

    def __init__(
        self,
        metadata: RunMetadata,
        run: str,
        run_labels: dict[str, str] | None = None,
        names: NamesChoice = "auto",
        engine_limit: int = ENGINE_LIMIT,
    ) -> None:
        self._metadata = metadata
        self._common = {"run": run}
        self._run_labels = run_labels or {}
        self._names = names
        self.members = EngineMembers(metadata, engine_limit)
        self._arranged = (0, False)
        self._arrange((), has_ranks=False)

    @property
    def is_detailed(self) -> bool:
        """Whether every replica has series of its own."""
        return self.members.are_replicas

    def families(self, snapshot: LiveSnapshot) -> Iterator[Family]:
        """Yield every family of ``snapshot``."""
        if (len(snapshot.joined_pools), snapshot.by_rank is not None) != self._arranged:
            self._arrange(snapshot.joined_pools, has_ranks=snapshot.by_rank is not None)
        yield from self._simulation.families(snapshot)
        engines = snapshot if snapshot.by_rank is None else snapshot.by_rank
        if self._vllm is not None:
            yield from vllm_families(self._vllm, engines)
        if self._sglang is not None:
            yield from sglang_families(self._sglang, engines)
        yield from self._router.families(snapshot)

    def _arrange(self, joined_pools: Sequence[int], *, has_ranks: bool) -> None:
        """Make the label sets of a fleet that these replicas have joined; ``has_ranks`` makes ranks engines."""
        self._arranged = len(joined_pools), has_ranks
        engines = self._engines(joined_pools)
        servers = self._ranks_of(engines) if has_ranks else engines
        self._vllm = self._group(servers, "vllm")
        self._sglang = self._group(servers, "sglang")
        self._router = RouterSeries(self._metadata, engines, self._common)
        self._simulation = SimulationSeries(
            self._metadata, engines, self._common, self._run_labels, are_replicas=self.is_detailed
        )

    def _engines(self, joined_pools: Sequence[int]) -> list[Engine]:
        """Return an engine for each replica, in the order of the pools, or one for each pool of a large fleet."""
        pools = self._metadata.pools
        if not self.is_detailed:
            return [Engine(pool.name, row, pool) for row, pool in enumerate(pools)]
        pool_of_replica = [*self._metadata.pool_of_replica(), *joined_pools]
        order = sorted(range(len(pool_of_replica)), key=lambda number: (pool_of_replica[number], number))
        return [Engine(str(number), number, pools[pool_of_replica[number]], number) for number in order]

    def _ranks_of(self, engines: Sequence[Engine]) -> list[Engine]:
        """Return the engines that replicas consist of: their ranks, or themselves if they have none."""
        most = self._metadata.ranks
        pool_of_rank = {
            pool.name: replace(pool, kv_blocks=pool.kv_blocks // pool.ranks) for pool in self._metadata.pools
        }
        return [
            engine._replace(
                name=engine.name if engine.pool.ranks == 1 else str(rank),
                row=rank_row(engine.replica, rank, most),
                pool=pool_of_rank[engine.pool.name],
                is_rank=engine.pool.ranks > 1,
            )
            for engine in engines
            for rank in range(engine.pool.ranks)
        ]

    def _group(self, engines: Sequence[Engine], names: Names) -> EngineGroup | None:
        chosen = [
            engine for engine in engines if names == (names_of(engine.pool) if self._names == "auto" else self._names)
        ]
        if not chosen:
            return None
        return EngineGroup(chosen, [self._labels(engine, names) for engine in chosen])

    def _labels(self, engine: Engine, names: Names) -> Labels:
        labels = {"model_name": engine.pool.model, "engine": engine.name, "pool": engine.pool.name}
        if engine.is_rank:
            labels["replica"] = str(engine.replica)
        labels |= self._common
        if names == "sglang":
            role = engine.pool.role or "unified"
            labels |= {"engine_type": role, "tp_rank": "0", "pp_rank": "0", "moe_ep_rank": "0"}
            if engine.is_rank:
                labels["dp_rank"] = engine.name
        return Labels.of(**labels)
