"""Errors of planning name the key, the file and the line."""

from pathlib import Path

import pytest

from cluster_sim.config.loading.error_context import inside, locating_errors
from cluster_sim.document import Document
from cluster_sim.errors import InputError

STUDY = """\
name: small
fleet:
  pools:
    - model: llama-3-8b
      device: h100-sxm
      engine: {max_num_seqs: 9}
run: {executor: inline}
"""


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("engine.max_num_seqs: too many", "fleet.pools.1.engine.max_num_seqs: too many"),
        ("tensor_parallel 3 does not divide 32", "fleet.pools.1.tensor_parallel: 3 does not divide 32"),
        ("llama-3-70b does not fit", "fleet.pools.1.model: llama-3-70b does not fit"),
        ("/a/b.json: hidden_size is required", "fleet.pools.1.model: /a/b.json: hidden_size is required"),
        ("some tensor_parallel: is wrong", "fleet.pools.1.model: some tensor_parallel: is wrong"),
    ],
)
def test_the_key_is_completed(message: str, told: str) -> None:
    """A key that stands first is completed by its block; other messages are about the block's default key."""
    with pytest.raises(InputError) as error, inside("fleet.pools.1", {"engine", "tensor_parallel"}, "model"):
        raise InputError(message)
    assert str(error.value) == told


def test_blocks_nest() -> None:
    """A message that the inner block leaves alone gets the outer one's default; one that it completed is kept."""
    for message, told in (
        ("file.csv: is empty", "predictor: file.csv: is empty"),
        ("kind: is wrong", "fleet.kind: is wrong"),
    ):
        with (
            pytest.raises(InputError) as error,
            inside("", {"predictor", "fleet"}, "predictor"),
            inside("fleet", {"kind"}, None),
        ):
            raise InputError(message)
        assert str(error.value) == told


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("fleet.pools.0.engine.max_num_seqs: too many", "study.yaml:6: fleet.pools.0.engine.max_num_seqs: too many"),
        (
            "fleet.pools.0.tensor_parallel: does not divide",
            "study.yaml:4: fleet.pools.0.tensor_parallel: does not divide",
        ),
        ("run.stages: no", "study.yaml:7: run.stages: no"),
        ("predictor: no", "study.yaml: predictor: no"),
        ("study.yaml:3: name: no", "study.yaml:3: name: no"),
        ("fleet of foot", "fleet of foot"),
        ("--out runs: cannot be written", "--out runs: cannot be written"),
        ("nowhere.csv: no such file", "nowhere.csv: no such file"),
    ],
)
def test_the_place_is_named(message: str, told: str) -> None:
    """A key of the study gets the file and the line of the deepest part that stands there; nothing else does."""
    document = Document.parse(STUDY, "study.yaml")
    with pytest.raises(InputError) as error, locating_errors(document):
        raise InputError(message)
    assert str(error.value) == told


def test_an_override_is_a_place(tmp_path: Path) -> None:
    """What an override set is named by the override."""
    from cluster_sim.config.loading.load import read_document

    path = tmp_path / "study.yaml"
    path.write_text(STUDY, encoding="utf-8")
    document = read_document(path, ["fleet.pools.0.model=llama-3-70b"])
    with pytest.raises(InputError) as error, locating_errors(document):
        raise InputError("fleet.pools.0.model: does not fit")
    assert str(error.value) == "--set fleet.pools.0.model=llama-3-70b: fleet.pools.0.model: does not fit"
