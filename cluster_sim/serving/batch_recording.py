"""Recording of batches in the log of their replica: tokens, gaps, preemptions, lookups in the prefix cache."""

from collections.abc import Sequence

from cluster_sim.recording.replica_log import ReplicaLog
from cluster_sim.serving.batch import Batch
from cluster_sim.serving.fast_forward.decode_pool import DecodePool


def record_batch(log: ReplicaLog, batch: Batch) -> None:
    """Note a batch that has just been formed and put into the pipeline, before the scheduler places it."""
    shape, end_ns = batch.shape, batch.end_ns
    prompt_tokens = 0
    for chunk, _ in shape.prefills:
        prompt_tokens += chunk
    log.step(
        end_ns,
        end_ns - batch.steady_from_ns if batch.steady_decodes else 0,
        batch.steady_decodes,
        prompt_tokens,
        shape.decodes + shape.completed_prefills + batch.accepted_tokens,
    )
    for previous_ns in batch.gap_starts_ns:
        log.gap(end_ns - previous_ns)
    for sequence in batch.completed:
        if sequence.last_token_ns >= 0:
            log.gap(end_ns - sequence.last_token_ns)  # Its first token since a preemption.
    log.preemptions += len(batch.preempted) + batch.unbatched_preemptions


def record_lookups(log: ReplicaLog, batch: Batch) -> None:
    """Count a batch's lookups of first admissions; hits of preempted sequences would be their own blocks."""
    for sequence, chunk in batch.prefilled:
        is_first = sequence.scheduled_ns == batch.formed_ns and not sequence.preemptions
        if is_first and sequence.computed - chunk == sequence.cached_tokens:
            log.prefix_queries_tokens += sequence.prompt_tokens
            log.prefix_hits_tokens += sequence.cached_tokens


def record_first_step(log: ReplicaLog, pool: DecodePool, end_ns: int) -> None:
    """Note the first step of a run whose members' previous tokens did not all come right before it."""
    late = pool.unsynchronised_members
    log.step(end_ns, end_ns - pool.last_end_ns, len(pool) - len(late), 0, len(pool))
    for sequence in late:
        log.gap(end_ns - sequence.last_token_ns)


def record_first_joint_step(log: ReplicaLog, pools: Sequence[DecodePool], start_ns: int, end_ns: int) -> None:
    """Note the first step, from ``start_ns`` to ``end_ns``, of a run of several pools together."""
    steady = sum(len(pool) - len(pool.unsynchronised_members) for pool in pools if pool.last_end_ns == start_ns)
    log.step(end_ns, end_ns - start_ns, steady, 0, sum(map(len, pools)))
    for pool in pools:
        for sequence in pool.unsynchronised_members:
            log.gap(end_ns - sequence.last_token_ns)
        if pool.last_end_ns != start_ns:
            for _ in range(len(pool) - len(pool.unsynchronised_members)):
                log.gap(end_ns - pool.last_end_ns)
