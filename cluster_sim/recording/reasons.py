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

LOSSES: Final = {
    CONTEXT_LENGTH: "longer than the context",
    KV_CACHE: "longer than the KV cache",
    NO_MODEL: "model not served",
    CLIENT_TIMEOUT: "client gave up",
}
"""The reasons for which requests are lost, in words; one that the run's end cuts off is not lost."""

REASONS: Final = (NO_REASON, CONTEXT_LENGTH, KV_CACHE, NO_MODEL, CLIENT_TIMEOUT, RUN_END)
"""Every reason that a row of ``requests.parquet`` may have."""
