"""Schedulers, one module each, chosen by ``engine.kind``; importing the package registers them all."""

from cluster_sim.serving.schedulers import (
    faster_transformer,
    lightllm,
    orca,
    sarathi,
    sglang,
    static_two_phase,
    vllm_v0,
    vllm_v1,
)
from cluster_sim.serving.schedulers.base import SCHEDULERS, Scheduler, SchedulerLimits

__all__ = [
    "SCHEDULERS",
    "Scheduler",
    "SchedulerLimits",
    "faster_transformer",
    "lightllm",
    "orca",
    "sarathi",
    "sglang",
    "static_two_phase",
    "vllm_v0",
    "vllm_v1",
]
