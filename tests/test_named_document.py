"""Documents that a study names: their content is the study's, and faults are named with file, line and key."""

from pathlib import Path

import pytest

from cluster_sim.config.loading.canonical import config_hash, resolved_yaml
from cluster_sim.config.loading.load import check_study, load_study
from cluster_sim.document import Document
from cluster_sim.errors import InputError

STUDY = """\
workload:
  kind: synthetic
  count: 10
  arrivals: {kind: poisson, request_rate: 5}
  lengths: {prompt: {kind: fixed, value: 100}, output: {kind: fixed, value: 10}}
fleet: {pools: [{model: llama-3-8b, device: h100-sxm, replicas: 2}]}
router: {policy: endpoint_picker, config: epp.yaml}
"""
PICKER = """\
apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
- type: queue-scorer
- type: token-producer
schedulingProfiles:
- name: default
  plugins:
  - pluginRef: queue-scorer
"""


def study_file(folder: Path, picker: str = PICKER) -> Path:
    (folder / "epp.yaml").write_text(picker, encoding="utf-8")
    path = folder / "study.yaml"
    path.write_text(STUDY, encoding="utf-8")
    return path


def test_the_content_counts(tmp_path: Path) -> None:
    """The hash changes with the file's content, not with its path or layout; the resolved study has the content."""
    study = load_study(study_file(tmp_path))
    resolved = tmp_path / "resolved.yaml"
    resolved.write_text(resolved_yaml(study), encoding="utf-8")
    (tmp_path / "epp.yaml").unlink()
    assert load_study(resolved) == study
    assert config_hash(load_study(study_file(tmp_path, PICKER + "# a remark\n"))) == config_hash(study)
    assert config_hash(load_study(study_file(tmp_path, PICKER.replace("queue-scorer", "queue")))) != config_hash(study)


def test_faults_have_file_line_and_key(tmp_path: Path) -> None:
    """A missing plugin is named with the file, its line and the path of the key, after the key of the study."""
    path = study_file(tmp_path, PICKER.replace("pluginRef: queue-scorer", "pluginRef: queue"))
    assert load_study(path)
    path = study_file(tmp_path, PICKER.replace("pluginRef: queue-scorer", "pluginRef: kv"))
    with pytest.raises(InputError) as caught:
        load_study(path)
    assert str(caught.value).startswith(
        f"{path}:7: router.config: {tmp_path / 'epp.yaml'}:9: schedulingProfiles.0.plugins.0.pluginRef: "
        "the file has no plugin 'kv'"
    )


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    """A file that is not there, or is no YAML, is named as such, and so is what is neither path nor content."""
    path = study_file(tmp_path, "kind: [")
    with pytest.raises(InputError, match=r"router.config: .*epp.yaml:1: not valid YAML"):
        load_study(path)
    with pytest.raises(InputError, match=r"router.config: no such file"):
        load_study(path, ["router.config=nothing.yaml"])
    with pytest.raises(InputError, match=r"router.config: must be the path of a file, or its content; got 5"):
        load_study(path, ["router.config=5"])


def test_remarks_about_what_is_left_out(tmp_path: Path) -> None:
    """What the file says in vain is added to the notes of the study."""
    notes: list[str] = []
    check_study(Document.read(study_file(tmp_path)), tmp_path, notes)
    assert notes == [
        f"{tmp_path / 'epp.yaml'}: plugins.1: token-producer means nothing in a simulation and is left out"
    ]
