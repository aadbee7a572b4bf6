"""Predictors whose step times can be counted by hand."""

import numpy as np

from cluster_sim.hardware.batch_shape import BatchShape, Int64Array
from cluster_sim.hardware.predictors.predictor_interface import Predictor


class Linear(Predictor):
    """10 us a step, 1 us a prompt token, 100 ns a decode, 1 ns per 16 cached tokens."""

    def step_ns(self, shape: BatchShape, stage: int = 0) -> int:
        prompt = sum(chunk for chunk, _ in shape.prefills)
        return 10_000 + 1000 * prompt + 100 * shape.decodes + shape.decode_kv_tokens // 16 + 0 * stage

    def decode_run_ns(self, decodes: int, kv_tokens: int, steps: int, stage: int = 0) -> Int64Array:
        kv = kv_tokens + decodes * np.arange(steps, dtype=np.int64)
        return 10_000 + 100 * decodes + kv // 16 + 0 * stage

    def floor_ns(self, stage: int = 0) -> int:
        return 10_000 + 0 * stage


class TokenClock(Predictor):
    """Every token costs ``token_ns``, nothing else does."""

    def __init__(self, token_ns: int) -> None:
        super().__init__()
        self._token_ns = token_ns

    def step_ns(self, shape: BatchShape, stage: int = 0) -> int:
        return self._token_ns * shape.tokens + 0 * stage

    def decode_run_ns(self, decodes: int, kv_tokens: int, steps: int, stage: int = 0) -> Int64Array:
        raise NotImplementedError

    def floor_ns(self, stage: int = 0) -> int:
        return 1 + 0 * stage
