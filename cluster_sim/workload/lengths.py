"""Prompt and output lengths, drawn by request index."""

import math
from pathlib import Path
from typing import Protocol

import numpy as np

from cluster_sim.errors import InputError
from cluster_sim.workload.readers.base import ReadOptions, ReadReport
from cluster_sim.workload.readers.registry import find_reader
from cluster_sim.workload.sampling.distributions import Quantile, build_quantile, to_tokens
from cluster_sim.workload.sampling.normal_quantile import normal_quantile
from cluster_sim.workload.sampling.random_streams import Floats, Ints, Stream
from cluster_sim.workload.trait_options import EmpiricalLengths, IndependentLengths, Lengths, PairLengths


class LengthSampler(Protocol):
    """Gives each index its two lengths."""

    def draw(self, first: int, count: int) -> tuple[Ints, Ints]:
        """Return prompt and output tokens of indices ``first`` to ``first + count - 1``, each at least 1."""


class _Independent:
    def __init__(self, config: IndependentLengths, stream: Stream) -> None:
        self._prompt: Quantile = build_quantile(config.prompt)
        self._output: Quantile = build_quantile(config.output)
        self._prompt_stream, self._output_stream = stream.child("prompt"), stream.child("output")
        self._correlation = config.correlation

    def draw(self, first: int, count: int) -> tuple[Ints, Ints]:
        prompt_u = self._prompt_stream.uniforms(first, count)
        output_u = self._output_stream.uniforms(first, count)
        if self._correlation:
            output_u = _tied(prompt_u, output_u, self._correlation)
        return to_tokens(self._prompt.values(prompt_u)), to_tokens(self._output.values(output_u))


def _tied(one: Floats, other: Floats, correlation: float) -> Floats:
    """Return uniforms whose normal scores correlate with those of ``one`` (a Gaussian copula)."""
    score = correlation * normal_quantile(one) + math.sqrt(1.0 - correlation**2) * normal_quantile(other)
    cdf = 0.5 * np.asarray([math.erfc(value) for value in (-score / math.sqrt(2.0)).tolist()])
    return np.clip(cdf, 2.0**-54, 1.0 - 2.0**-53)


class _Pairs:
    """Pairs drawn together, with replacement, by weight."""

    def __init__(self, prompt: Ints, output: Ints, weights: Floats | None, stream: Stream) -> None:
        self._prompt, self._output = prompt, output
        self._edges = None if weights is None else np.cumsum(weights) / weights.sum()
        self._stream = stream.child("pair")

    def draw(self, first: int, count: int) -> tuple[Ints, Ints]:
        u = self._stream.uniforms(first, count)
        if self._edges is None:
            rows = (u * len(self._prompt)).astype(np.int64)
        else:
            rows = np.searchsorted(self._edges, u, side="left")
        rows = np.minimum(rows, len(self._prompt) - 1)
        return self._prompt[rows], self._output[rows]


def build_lengths(config: Lengths, stream: Stream) -> LengthSampler:
    """Return the sampler of configured lengths; InputError for a wrong file."""
    match config:
        case IndependentLengths():
            return _Independent(config, stream)
        case PairLengths():
            weights = None if config.weights is None else np.asarray(config.weights, dtype=np.float64)
            return _Pairs(
                np.asarray(config.prompt_tokens, dtype=np.int64),
                np.asarray(config.output_tokens, dtype=np.int64),
                weights,
                stream,
            )
        case EmpiricalLengths():
            prompt, output = _lengths_of_trace(config)
            return _Pairs(prompt, output, None, stream)


def _lengths_of_trace(config: EmpiricalLengths) -> tuple[Ints, Ints]:
    path = Path(config.path)
    reader = find_reader(config.format, path)
    prompts, outputs, rows = [], [], 0
    for block in reader.blocks(path, ReadOptions(prefixes=False), ReadReport()):
        prompts.append(block.prompt_tokens)
        outputs.append(block.output_tokens)
        rows += len(block)
        if config.first is not None and rows >= config.first:
            break
    if not rows:
        raise InputError(f"{path}: no row with tokens to draw lengths from")
    return np.concatenate(prompts)[: config.first], np.concatenate(outputs)[: config.first]
