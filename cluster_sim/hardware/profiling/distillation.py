"""Distillation: a random forest or linear regression fitted to an operator profile and turned into a table.

Design: each operator (attention split into decodes alone, chunks alone, and both) is learnt from its keys and their
products; the fitted model is asked once on the full grid of the keys' values, and the answers are a profile like any
other, so nothing is evaluated during a simulation.  Errors are mean absolute percentage errors of k-fold
cross-validation.  Needs the optional extra ``fit`` (scikit-learn).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from cluster_sim.errors import InputError
from cluster_sim.hardware.predictors.operator_profile import KEYS, Measurement, OperatorProfile, make_profile

Float64Array = npt.NDArray[np.float64]
METHODS: Final = ("forest", "linear")
FOLDS: Final = 5
LARGEST_GRID: Final = 20_000
SMALLEST_US: Final = 0.01
SEED: Final = 0
TREES: Final = 40


class Estimator(Protocol):
    """A fitted model."""

    def predict(self, features: Float64Array) -> Float64Array:
        """Return the prediction for each row of features."""


@dataclass(frozen=True, slots=True)
class FitError:
    """Cross-validated error of one group of measurements."""

    group: str
    rows: int
    mape_percent: float


def fit_profile(profile: OperatorProfile, method: str = "forest") -> tuple[OperatorProfile, list[FitError]]:
    """Return (the distilled profile, errors by group).

    Groups of fewer than ``2 * FOLDS`` rows are kept as measured.  Raises InputError for an unknown method, or when
    scikit-learn is not installed.
    """
    if method not in METHODS:
        raise InputError(f"unknown method {method!r}; known: {', '.join(METHODS)}")
    rows: list[Measurement] = []
    errors: list[FitError] = []
    for group, measured in _groups(profile).items():
        axes = [index for index in range(len(KEYS)) if len({row.key[index] for row in measured}) > 1]
        if len(measured) < 2 * FOLDS or not axes:
            rows += measured
            continue
        keys = np.array([[row.key[index] for index in axes] for row in measured], dtype=np.float64)
        times = np.array([row.time_us for row in measured], dtype=np.float64)
        errors.append(FitError(group, len(measured), _cross_validate(method, keys, times)))
        grid = _grid(measured, axes)
        predicted = _fitted(method, keys, times).predict(_features(np.array(grid, dtype=np.float64), method))
        for place, value in zip(grid, _unscaled(predicted), strict=True):
            changes: dict[str, Any] = {KEYS[index]: int(key) for index, key in zip(axes, place, strict=True)}
            rows.append(replace(measured[0], time_us=max(SMALLEST_US, float(value)), row=0, **changes))
    info = replace(profile.info, source=f"{method} fitted to: {profile.info.source}")
    return make_profile(info, rows, profile.path), errors


def _groups(profile: OperatorProfile) -> dict[str, list[Measurement]]:
    """Return the measurements that one model learns, by name."""
    groups: dict[str, list[Measurement]] = {}
    for operator in profile.operators:
        for row in profile.of(operator):
            name = operator
            if operator == "attention":
                name += " mixed" if row.decodes and row.prefill_tokens else " decode" if row.decodes else " prefill"
            groups.setdefault(name, []).append(row)
    return groups


def _grid(measured: list[Measurement], axes: list[int]) -> list[tuple[int, ...]]:
    """Return the full grid of the keys' values if it is not too large, else the measured keys."""
    values = [sorted({row.key[index] for row in measured}) for index in axes]
    size = 1
    for axis in values:
        size *= len(axis)
    if size <= LARGEST_GRID:
        return list(product(*values))
    return [tuple(row.key[index] for index in axes) for row in measured]


def _features(keys: Float64Array, method: str) -> Float64Array:
    """Return the keys, and for several their products; for the linear model also squares of the first."""
    columns = [keys[:, index] for index in range(keys.shape[1])]
    features = list(columns)
    for index, first in enumerate(columns):
        features += [first * second for second in columns[index + 1 :]]
        if method == "linear":
            features.append(first * first)
    return np.stack(features, axis=1)


def _fitted(method: str, keys: Float64Array, times: Float64Array) -> Estimator:
    """Return a fitted model of the logarithm of the time: relative errors count alike from microseconds to seconds."""
    try:
        from sklearn.ensemble import RandomForestRegressor
        from sklearn.linear_model import LinearRegression
    except ImportError:
        raise InputError(
            "fitting needs scikit-learn: install the extra 'fit' (pip install 'cluster-sim[fit]')"
        ) from None
    features = _features(keys, method)
    if method == "forest":
        forest: Estimator = RandomForestRegressor(n_estimators=TREES, random_state=SEED, n_jobs=1).fit(
            features, np.log(times + SMALLEST_US)
        )
        return forest
    weights = 1.0 / (times + SMALLEST_US) ** 2
    line: Estimator = LinearRegression(positive=True).fit(features, times, sample_weight=weights)
    return _LogarithmOf(line)


class _LogarithmOf:
    """A model of times as one of their logarithms."""

    def __init__(self, model: Estimator) -> None:
        self._model = model

    def predict(self, features: Float64Array) -> Float64Array:
        result: Float64Array = np.log(np.maximum(self._model.predict(features), 0.0) + SMALLEST_US)
        return result


def _unscaled(logarithms: Float64Array) -> Sequence[float]:
    values: list[float] = (np.exp(logarithms) - SMALLEST_US).tolist()
    return values


def _cross_validate(method: str, keys: Float64Array, times: Float64Array) -> float:
    """Return the mean absolute percentage error over folds that are drawn with a fixed seed."""
    order = np.random.default_rng(SEED).permutation(len(times))
    errors: list[float] = []
    for fold in range(FOLDS):
        left_out = order[fold::FOLDS]
        kept = np.setdiff1d(order, left_out)
        model = _fitted(method, keys[kept], times[kept])
        predicted = np.array(_unscaled(model.predict(_features(keys[left_out], method))))
        errors += (np.abs(predicted - times[left_out]) / np.maximum(times[left_out], SMALLEST_US)).tolist()
    return 100.0 * float(np.mean(errors))
