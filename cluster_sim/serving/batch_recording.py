"""Recording of batches in the log of their replica: tokens, gaps, preemptions, lookups in the prefix cache."""

from cluster_sim.engine.instant import time_of
from cluster_sim.recording.replica_log import ReplicaLog
from cluster_sim.serving.batch import Batch
from cluster_sim.serving.first_token_note import note_first_token
from cluster_sim.serving.inbox import Inbox
from cluster_sim.serving.schedulers.base import Scheduler
from cluster_sim.serving.step_state import StepState


def record_batch(log: ReplicaLog, batch: Batch) -> None:
    """Record a batch that has just been sent into the pipeline, before the scheduler knows its end."""
    shape, end_ns = batch.shape, batch.end_ns
    prompt_tokens = 0
    for chunk, _ in shape.prefills:
        prompt_tokens += chunk
    generated_tokens = shape.decodes + shape.completed_prefills + batch.accepted_tokens
    batch.gaps.record(log, end_ns, prompt_tokens, generated_tokens, batch.completed)
    if batch.preempted or batch.unbatched_preemptions:
        log.preemptions += len(batch.preempted)
        record_preemptions(log, batch)
    if batch.verified:
        log.drafts.add(shape.draft_tokens, batch.verified)
    if log.ranks:
        for number, part in batch.parts:
            part.scheduled_ns, part.end_ns = batch.scheduled_ns, end_ns
            record_batch(log.ranks[number], part)


def record_begun(log: ReplicaLog, scheduler: Scheduler, now_ns: int) -> None:
    """Record the sequences that have ``begun`` to run at ``now_ns``, with first tokens which have come along."""
    for sequence in scheduler.begun:
        note_first_token(log, sequence, now_ns)
        if log.ranks:
            note_first_token(log.ranks[sequence.rank], sequence, now_ns)
    scheduler.begun = ()


def record_preemptions(log: ReplicaLog, made: Batch | Scheduler) -> None:
    """Count the preemptions of data-parallel ranks that have no part in a batch, or of a scheduler without one."""
    log.preemptions += made.unbatched_preemptions
    if log.ranks:
        for number, preemptions in made.unbatched_ranks:
            log.ranks[number].preemptions += preemptions


def record_preempted_time(batch: Batch) -> None:
    """Record what a batch ends of preemptions, before the scheduler knows its end.

    That is the gap before the next token of a sequence that had some, and the pause of a prompt that is begun again.
    """
    for sequence, _ in batch.prefilled:
        if sequence.preemptions != sequence.noted_preemptions:
            sequence.noted_preemptions = sequence.preemptions
            if sequence.first_token_ns < 0:
                begun_ns = sequence.scheduled_ns if sequence.restarted_ns < 0 else sequence.restarted_ns
                sequence.restarted_ns = batch.scheduled_ns
                sequence.preemption_gaps_ns += (begun_ns, batch.scheduled_ns)
    for sequence in (*batch.completed, *batch.resumed) if batch.resumed else batch.completed:
        if sequence.preemptions and sequence.last_token_ns >= 0:
            sequence.preempted_ns += batch.end_ns - sequence.last_token_ns
            sequence.preemption_gaps_ns += (sequence.last_token_ns, batch.end_ns)


def record_rest(log: ReplicaLog, steps: StepState, inbox: Inbox, scheduler: Scheduler, end_ns: int) -> None:
    """Record what is in flight and what was delivered when a run ends at ``end_ns``."""
    for batch_end_ns, batch in steps.in_flight:
        for _ in batch.finishing if batch is not None else ():
            log.stay(batch_end_ns)
    for ready_at, dispatch in inbox.dispatches():
        delivered_ns = inbox.delivered_ns(dispatch, time_of(ready_at))
        if delivered_ns < end_ns:
            log.enter(delivered_ns)
    log.held_blocks = 0 if log.entered > log.left else scheduler.kv_used_blocks


def record_lookups(log: ReplicaLog, batch: Batch) -> None:
    """Count a batch's lookups of first admissions; hits of preempted sequences would be their own blocks."""
    for sequence, chunk in batch.prefilled:
        is_first = sequence.scheduled_ns == batch.scheduled_ns and not sequence.preemptions
        if is_first and sequence.computed - chunk == sequence.cached_tokens:
            log.prefix_queries_tokens += sequence.prompt_tokens
            local_tokens = sequence.cached_tokens - sequence.loaded_tokens
            log.prefix_hits_tokens += sequence.cached_tokens
            log.loaded_queries_tokens += sequence.prompt_tokens - local_tokens
            log.loaded_hits_tokens += sequence.loaded_tokens
    if log.ranks:
        for number, part in batch.parts:
            part.scheduled_ns = batch.scheduled_ns
            record_lookups(log.ranks[number], part)


def record_lost(log: ReplicaLog, batch: Batch) -> None:
    """Record a batch that the crash to come cuts off: its tokens never come."""
    log.preemptions += len(batch.preempted)
    record_preemptions(log, batch)
    if log.ranks:
        for number, part in batch.parts:
            log.ranks[number].preemptions += len(part.preempted)
    for sequence in batch.finishing:
        sequence.last_token_ns = batch.end_ns
