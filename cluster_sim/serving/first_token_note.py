"""Notes of first tokens in the log of their replica, taken when the step that yields one is committed."""

from cluster_sim.recording.replica_log import ReplicaLog
from cluster_sim.serving.sequence import Sequence


def note_first_token(log: ReplicaLog, sequence: Sequence, end_ns: int) -> int:
    """Note a sequence whose first token comes at ``end_ns``; return the tokens of its prompt.

    The time to the first token counts from the arrival at the router to the token's return there.
    """
    prompt_tokens = sequence.prompt_tokens
    ttft_ns = end_ns + log.return_ns - sequence.request.arrival_ns if sequence.is_timed else -1
    external_tokens = sequence.loaded_tokens + sequence.transferred_tokens
    local_tokens = sequence.cached_tokens - sequence.loaded_tokens
    log.first_tokens.note(end_ns, ttft_ns, prompt_tokens, local_tokens, external_tokens)
    return prompt_tokens
