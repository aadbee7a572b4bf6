"""Names of llm-d's plugins: older ones, and those of parts that mean nothing in a simulation."""

from typing import Final

OLDER_NAMES: Final = {
    "queue": "queue-scorer",
    "queue-depth-scorer": "queue-scorer",
    "kv-cache": "kv-cache-utilization-scorer",
    "kv-cache-scorer": "kv-cache-utilization-scorer",
    "kv-cache-usage-scorer": "kv-cache-utilization-scorer",
    "running-requests-scorer": "running-requests-size-scorer",
    "running-request-scorer": "running-requests-size-scorer",
    "running-queue-size-scorer": "running-requests-size-scorer",
    "prefix-cache": "prefix-cache-scorer",
    "prefix-scorer": "prefix-cache-scorer",
    "prefix-cache-plugin": "prefix-cache-scorer",
    "approx-prefix-cache-scorer": "prefix-cache-scorer",
    "approx-prefix-cache-producer": "prefix-cache-scorer",
    "kvcache-aware-scorer": "precise-prefix-cache-scorer",
    "precise-prefix-cache-producer": "precise-prefix-cache-scorer",
    "lora-affinity": "lora-affinity-scorer",
    "load-aware": "load-aware-scorer",
    "session-affinity": "session-affinity-scorer",
    "active-request": "active-request-scorer",
    "no-hit-lru": "no-hit-lru-scorer",
    "token-load": "token-load-scorer",
    "context-length-aware-scorer": "context-length-aware",
    "predicted-latency-scorer": "latency-scorer",
    "slo-aware-routing": "latency-scorer",
    "slo-scorer": "latency-scorer",
    "max-score": "max-score-picker",
    "random": "random-picker",
    "weighted-random": "weighted-random-picker",
    "single-profile": "single-profile-handler",
    "data-parallel-profile-handler": "single-profile-handler",
    "disagg-handler": "disagg-profile-handler",
    "by-label-filter": "by-label",
    "by-label-selector": "label-selector-filter",
    "by-label-selector-filter": "label-selector-filter",
    "label-selector": "label-selector-filter",
    "decode-role-filter": "decode-filter",
    "prefill-role-filter": "prefill-filter",
    "encode-role-filter": "encode-filter",
    "always-disagg-decider": "always-disagg-pd-decider",
    "prefix-disagg-decider": "prefix-based-pd-decider",
    "saturation-detector": "utilization-detector",
    "utilization-saturation-detector": "utilization-detector",
    "concurrency-saturation-detector": "concurrency-detector",
}
"""The present name of a part, by a name that it had in another version."""

_NAMES_WITHOUT_MEANING: Final = frozenset(
    {
        "token-producer",
        "tokenizer",
        "prefill-header-handler",
        "disagg-headers-handler",
        "slo-aware-profile-handler",
        "slo-request-tracker",
        "predicted-latency-producer",
        "inflight-load-producer",
        "header-based-testing-filter",
        "destination-endpoint-served-verifier",
        "model-server-protocol-metrics",
        "metrics",
    }
)
_ENDINGS_WITHOUT_MEANING: Final = (
    "-producer",
    "-source",
    "-datasource",
    "-extractor",
    "-parser",
    "-reporter",
    "-tokenizer",
    "-header-handler",
    "-headers-handler",
    "-verifier",
    "-tracker",
    "-metrics",
    "-collector",
    "-exporter",
)

FLOW_CONTROL_TYPES: Final = frozenset(
    {
        "utilization-detector",
        "concurrency-detector",
        "probabilistic-admitter",
        "latency-slo-admitter",
        "fcfs-ordering-policy",
        "edf-ordering-policy",
        "slo-deadline-ordering-policy",
        "round-robin-fairness-policy",
        "global-strict-fairness-policy",
    }
)
"""Parts of admission and flow control: they become options of the study's ``admission``."""

IGNORED_POLICIES: Final = ("-usage-limit-policy", "-queue", "-holdback-policy", "-dispatch-policy")
"""Endings of flow-control parts without a counterpart."""


def present_name(type_name: str) -> str:
    """Return the name that a type of plugin has now."""
    return OLDER_NAMES.get(type_name, type_name)


def means_nothing(type_name: str) -> bool:
    """Return whether a part only serves real servers: it reads their metrics, tokenises text, or speaks to them."""
    return type_name in _NAMES_WITHOUT_MEANING or type_name.endswith(_ENDINGS_WITHOUT_MEANING)
