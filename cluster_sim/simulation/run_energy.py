"""Energy of a run: joules by pool, per request and per token, from the replicas' counters."""

from typing import Any

from cluster_sim.hardware.energy import EnergyModel
from cluster_sim.metrics.encoder_figures import EncoderMetadata
from cluster_sim.metrics.request_totals import SUMS
from cluster_sim.metrics.run_records import RunRecords
from cluster_sim.simulation.plan import Plan

J_PER_KWH = 3.6e6


def energy_summary(plan: Plan, records: RunRecords, encoders: EncoderMetadata | None = None) -> dict[str, Any]:
    """Return the run's ``energy`` block: joules, kWh, mean power, joules per finished request and output token."""
    totals, end_ns = records.totals, records.end_ns
    pools = []
    pool_of = [index for index, planned in enumerate(plan.pools) for _ in range(planned.pool.replicas)]
    pool_of += records.joined_pools
    for index, planned in enumerate(plan.pools):
        pool = planned.pool
        model = EnergyModel(planned.hardware, pool.power_cap_w)
        members = [number for number, own in enumerate(pool_of) if own == index]
        joules = sum(_replica_energy_j(model, records, replica, pool.data_parallel) for replica in members)
        sums = totals.sums[members].sum(axis=0).tolist()
        figures = _figures(joules, sums[SUMS.index("finished")], sums[SUMS.index("output_tokens")], end_ns)
        pools.append({"name": pool.name, **figures})
    joules = sum(entry["energy_j"] for entry in pools)
    if encoders is not None:
        joules += encoders.energy_j(records.encoder_work, end_ns)
    return {**_figures(joules, totals.total("finished"), totals.total("output_tokens"), end_ns), "pools": pools}


def _replica_energy_j(model: EnergyModel, records: RunRecords, replica: int, ranks: int) -> float:
    """Return the joules of all ranks of a replica, which are taken to share its work evenly."""
    sums, counters = records.totals.sums[replica], records.replicas[replica]
    tokens = counters.prompt_tokens + counters.generated_tokens + counters.overrun_tokens
    return ranks * model.run_energy_j(
        counters.presence_ns(0, records.end_ns),
        counters.busy_ns,
        counters.overrun_ns,
        counters.iterations + counters.overrun_iterations,
        tokens // ranks,
        int(sums[SUMS.index("decode_reads_tokens")]) // ranks,
        int(sums[SUMS.index("prefill_pairs")]) // ranks,
    )


def _figures(joules: float, finished: int, output_tokens: int, end_ns: int) -> dict[str, Any]:
    return {
        "energy_j": joules,
        "energy_kwh": joules / J_PER_KWH,
        "mean_power_w": joules / (end_ns * 1e-9) if end_ns else None,
        "j_per_request": joules / finished if finished else None,
        "j_per_output_token": joules / output_tokens if output_tokens else None,
    }
