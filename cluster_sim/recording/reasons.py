"""Reasons why a request did not finish."""

from typing import Final

NO_REASON: Final = ""
CONTEXT_LENGTH: Final = "context_length"
"""Prompt and output are longer than any replica of the model serves."""
KV_CACHE: Final = "kv_cache"
"""They need more KV blocks than any replica that takes their length has."""
NO_MODEL: Final = "no_model"
"""No pool serves the model that it names, or it names none and several are served."""
CLIENT_TIMEOUT: Final = "client_timeout"
"""Its client has given up."""
RUN_END: Final = "run_end"
"""The run ended before it did."""
CRASH: Final = "crash"
"""The replica that served it crashed, or left."""
UNREACHABLE: Final = "unreachable"
"""The replica that it was sent to did not take it: it was down, or the link was."""
ATTEMPT_TIMEOUT: Final = "attempt_timeout"
"""A replica did not answer within the time that the router waits for one attempt."""
TRANSFER_FAILED: Final = "transfer_failed"
"""Its KV cache did not reach the replica that was to decode."""
RETRIES_EXHAUSTED: Final = "retries_exhausted"
"""It failed as often as the router tries, or the budget of retries was spent."""
NO_REPLICA: Final = "no_replica"
"""No replica of its model was there that may take requests."""
DRAINED: Final = "drained"
"""Its replica was taken away before it was served."""
SHED_SATURATION: Final = "shed_saturation"
"""The fleet was saturated, and it may be shed."""
QUEUE_FULL: Final = "queue_full"
"""The router's queue had no room for it."""
QUEUE_TIMEOUT: Final = "queue_timeout"
"""It waited in the router's queue for longer than it may."""
RATE_LIMIT: Final = "rate_limit"
"""Its tenant had used up its tokens of a bucket."""
SLO_UNREACHABLE: Final = "slo_unreachable"
"""It could not be served within its objectives."""
ROUTER_RESTART: Final = "router_restart"
"""The router was restarted while it was under way."""

LOSSES: Final = {
    CONTEXT_LENGTH: "longer than the context",
    KV_CACHE: "longer than the KV cache",
    NO_MODEL: "model not served",
    CLIENT_TIMEOUT: "client gave up",
    CRASH: "replica crashed",
    UNREACHABLE: "replica unreachable",
    ATTEMPT_TIMEOUT: "replica did not answer in time",
    TRANSFER_FAILED: "transfer of the KV cache failed",
    RETRIES_EXHAUSTED: "retries exhausted",
    NO_REPLICA: "no replica available",
    DRAINED: "replica taken away",
    SHED_SATURATION: "shed in saturation",
    QUEUE_FULL: "queue full",
    QUEUE_TIMEOUT: "waited too long in the queue",
    RATE_LIMIT: "rate limit",
    SLO_UNREACHABLE: "objectives out of reach",
    ROUTER_RESTART: "router restarted",
}
"""The reasons for which requests are lost, in words; one that the run's end cuts off is not lost."""

REASONS: Final = (
    *(NO_REASON, CONTEXT_LENGTH, KV_CACHE, NO_MODEL, CLIENT_TIMEOUT, RUN_END),
    *(CRASH, UNREACHABLE, ATTEMPT_TIMEOUT, TRANSFER_FAILED, RETRIES_EXHAUSTED, NO_REPLICA, DRAINED),
    *(SHED_SATURATION, QUEUE_FULL, QUEUE_TIMEOUT, RATE_LIMIT, SLO_UNREACHABLE),
    ROUTER_RESTART,
)
"""Every reason that a row of ``requests.parquet`` may have; a new one goes to the end, with words in ``LOSSES``."""
