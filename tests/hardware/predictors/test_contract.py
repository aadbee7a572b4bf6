"""Contract of every predictor that is registered."""

import pickle
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cluster_sim.hardware.batch_shape import BatchShape
from cluster_sim.hardware.predictors.operator_profile_file import write_profile
from cluster_sim.hardware.predictors.pool_predictor import build_predictor
from cluster_sim.hardware.predictors.predictor_interface import PREDICTORS, MeasuredSteps, Predictor, PredictorOptions
from cluster_sim.hardware.replica_hardware import ExpertSharding
from tests.hardware.predictors.small_profile import small_profile
from tests.hardware.predictors.small_tables import SPLITWISE_HEADER, splitwise_rows, write_vidur_tables
from tests.hardware.replicas import hardware
from tests.outside_package import CHECKOUT
from tests.parts import example_block

NAMES = PREDICTORS.names()


@pytest.fixture(scope="module")
def changes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Return what the options of a kind have beside those of its example: files of small tables, every coefficient."""
    folder = tmp_path_factory.mktemp("files")
    write_profile(small_profile(), folder / "profile.parquet")
    (folder / "splitwise.csv").write_text(SPLITWISE_HEADER + splitwise_rows(1))
    write_vidur_tables(folder, "small")
    return {
        "linear": {"alpha_us": 500.0, "beta_us": 3.1, "gamma_us": 0.07, "prefill_us": 70.0, "prefill_pair_us": 0.01},
        "table": {"path": str(folder / "profile.parquet"), "sequence_overhead_us": 7.3},
        "splitwise": {
            "path": str(folder / "splitwise.csv"),
            "measured_model": "m",
            "measured_hardware": "h",
        },
        "vidur_tables": {"directory": str(folder), "prefix": "small"},
    }


@pytest.fixture(scope="module", params=NAMES)
def options(request: pytest.FixtureRequest, changes: dict[str, dict[str, Any]]) -> PredictorOptions:
    """Return an example of each kind's options."""
    return example(request.param, changes)


def example(name: str, changes: dict[str, dict[str, Any]]) -> PredictorOptions:
    options = PREDICTORS.get(name).options.model_validate(example_block(PREDICTORS, name) | changes.get(name, {}))
    assert isinstance(options, PredictorOptions)
    return options


def built(options: PredictorOptions) -> Predictor:
    return build_predictor(options, hardware())


def shape_of(decodes: int, mean_kv: int, prefills: list[tuple[int, int]], drafts: int) -> BatchShape:
    decodes = decodes if prefills else max(decodes, 1)
    return BatchShape(decodes, mean_kv * decodes, prefills, len(prefills), drafts * decodes)


SHAPES = st.builds(
    shape_of,
    st.integers(0, 20),
    st.integers(0, 3000),
    st.lists(st.tuples(st.integers(1, 1500), st.integers(0, 2000)), max_size=3),
    st.integers(0, 1),
)
"""Shapes of up to 20 decodes and three chunks, inside and outside of the small tables."""


@pytest.mark.parametrize("name", NAMES)
def test_options_are_described(name: str) -> None:
    """A kind has a line for users, and every option of its own a description."""
    entry = PREDICTORS.get(name)
    assert entry.summary.endswith(".")
    assert issubclass(entry.options, PredictorOptions)
    for option, field in entry.options.model_fields.items():
        assert field.description, option


@pytest.mark.parametrize("name", NAMES)
def test_the_page_of_predictors_lists_every_kind(name: str) -> None:
    """The documentation has a row for each kind, and names it where it says who can predict ranks and power caps."""
    page = (CHECKOUT / "docs" / "predictor.md").read_text(encoding="utf-8")
    part = PREDICTORS.get(name).part
    assert f"\n| `{name}` |" in page
    sentence = next(line for line in page.splitlines() if line.startswith("Data-parallel ranks need"))
    ranks, _, others = sentence.partition(";")
    assert (f"`{name}`" in ranks) == part.models_ranks
    assert (f"`{name}`" in others) == part.models_imbalance == part.models_power_caps


def test_a_predictor_describes_itself(options: PredictorOptions) -> None:
    """A label for tables, stages as the hardware has, and times of the API server that are not negative."""
    predictor = built(options)
    assert predictor.label
    assert predictor.stages == 1
    assert predictor.frontend_ns >= 0
    assert predictor.frontend_ns_per_token >= 0
    assert predictor.is_calibrated or predictor.measured is MeasuredSteps.NONE
    assert pickle.loads(pickle.dumps(predictor)).step_ns(BatchShape(3, 700)) == predictor.step_ns(BatchShape(3, 700))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(decodes=st.integers(1, 20), kv_tokens=st.integers(0, 60_000), steps=st.integers(1, 300))
def test_a_run_is_repeated_steps(options: PredictorOptions, decodes: int, kv_tokens: int, steps: int) -> None:
    """Runs equal single steps to the bit, in what lies inside the measured region too."""
    predictor = built(options)
    shapes = [BatchShape(decodes, kv_tokens + step * decodes) for step in range(steps)]
    assert predictor.decode_run_ns(decodes, kv_tokens, steps).tolist() == [predictor.step_ns(shape) for shape in shapes]
    assert predictor.steps_inside(decodes, kv_tokens, steps) == sum(predictor.is_inside(shape) for shape in shapes)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(shapes=st.lists(SHAPES, min_size=1, max_size=8), seed=st.integers(0, 99))
def test_answers_are_pure_and_above_the_floor(options: PredictorOptions, shapes: list[BatchShape], seed: int) -> None:
    """In any order, however often, and after whatever else, a step has one duration, at least the floor and 1 ns."""
    predictor, fresh = built(options), built(options)
    first = [predictor.step_ns(shape) for shape in shapes]
    assert min(first) >= predictor.floor_ns() >= 1
    order = list(range(len(shapes)))
    Random(seed).shuffle(order)
    for index in order:
        fresh.decode_run_ns(1 + index, 40 * index, 3)
        fresh.is_inside(shapes[index])
        assert fresh.step_ns(shapes[index]) == first[index]
    measured = [predictor.is_inside(shape) for shape in shapes]
    assert predictor.measured is MeasuredSteps.SOME or len({*measured}) == 1
    assert [predictor.is_inside(shape) for shape in shapes] == measured


@pytest.mark.parametrize("name", [name for name in NAMES if PREDICTORS.get(name).part.models_ranks])
def test_ranks_are_priced_where_the_kind_says_so(name: str, changes: dict[str, dict[str, Any]]) -> None:
    """A kind that models ranks prices two of them, whose step is that of the slower one, and counts both."""
    if name == "table":
        pytest.skip("the small profile has no experts; tests/hardware/predictors/test_table.py prices ranks")
    predictor = build_predictor(
        example(name, changes), hardware("mixtral-8x7b", "h100-sxm", 2, experts=ExpertSharding(2))
    )
    short, long = BatchShape(2, 600), BatchShape(2, 600, [(64, 0)], 1)
    joint = BatchShape(4, 1200, [(64, 0)], 1, ranks=(short, long))
    assert predictor.step_ns(joint) == predictor.step_ns(long) > predictor.step_ns(short)
    assert predictor.ranks == 2


@pytest.mark.parametrize("name", NAMES)
def test_arrays_may_be_read_only(changes: dict[str, dict[str, Any]], name: str) -> None:
    """A predictor whose arrays cannot be written, as Ray hands them to its actors, gives the same times."""
    first, memory = built(example(name, changes)), []
    text = pickle.dumps(first, protocol=5, buffer_callback=memory.append)
    second = pickle.loads(text, buffers=[bytes(part.raw()) for part in memory])
    for predictor in (first, second):
        predictor.decode_run_ns(3, 100, 4)
    assert second.decode_run_ns(5, 700, 600).tolist() == first.decode_run_ns(5, 700, 600).tolist()
    assert second.step_ns(BatchShape(2, 50, [(30, 0)], 1)) == first.step_ns(BatchShape(2, 50, [(30, 0)], 1))
