"""The commented study that ``init`` writes."""

from pathlib import Path

from cluster_sim.config.loading.load import check_study
from cluster_sim.config.loading.template import EXAMPLE, study_template
from cluster_sim.config.schema.fleet import Fleet, Pool
from cluster_sim.config.schema.study import Study
from cluster_sim.document import Document


def test_template_says_the_defaults() -> None:
    """The template loads, and to the very study that the example alone gives: every value shown is the default."""
    shown = check_study(Document.parse(study_template(), "template"), Path.cwd())
    assert shown == Study.model_validate(EXAMPLE)


def test_template_shows_every_option() -> None:
    """Every option of the root, the fleet and a pool stands in the template, after its description."""
    lines = [line.strip().removeprefix("- ") for line in study_template().splitlines()]
    for model in (Study, Fleet, Pool):
        for name, field in model.model_fields.items():
            at = [index for index, line in enumerate(lines) if line.startswith(f"{name}:")]
            assert at, name
            assert any(lines[index - 1].startswith(f"# {field.description}") for index in at), name


def test_every_kind_of_workload_is_shown() -> None:
    """Alternatives of a block are listed with their options."""
    text = study_template()
    for kind in ("trace", "closed_loop", "gamma", "constant", "uniform"):
        assert f"# Or kind: {kind}  # " in text


def test_alternatives_do_not_repeat_what_stands_above() -> None:
    """An engine of another kind is shown by what sets it apart; the options that both have are named in one line."""
    text = study_template()
    engine = text[text.index("# Or kind: lightllm") :].split("#\n")[0]
    names = [line.strip().removeprefix("#   ").partition(":")[0] for line in engine.strip().splitlines()[1:]]
    assert names == ["as above", "block_size", "vidur_compat", "max_waiting_iters"]
    assert "as above: version, policy, ordering, max_num_seqs" in engine
