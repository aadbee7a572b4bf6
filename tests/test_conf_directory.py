"""Finding the files of ``conf/``."""

from collections.abc import Callable
from pathlib import Path

import pytest

from cluster_sim import conf_directory
from cluster_sim.calibration.library_match import match_device, match_model
from cluster_sim.conf_directory import library_file, library_names, library_path, library_root, named_by_repository
from cluster_sim.errors import InputError
from cluster_sim.hardware.device import load_device
from cluster_sim.hardware.model import load_model


def test_names_and_files() -> None:
    """Every listed name has its file."""
    assert {"h100-sxm", "h200", "a100-80gb", "l40s"} <= set(library_names("devices"))
    assert "codellama-34b" in library_names("models")
    for topic in ("devices", "models"):
        for name in library_names(topic):
            assert library_file(topic, name).parent == library_path(topic)


@pytest.mark.parametrize("place", ["conf", "cluster_sim/conf"])
def test_checkouts_and_wheels(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkout has conf/ beside the package, an installed wheel inside; without either it says so."""
    monkeypatch.setattr(conf_directory, "__file__", str(tmp_path / "cluster_sim" / "conf_directory.py"))
    with pytest.raises(InputError, match=r"^the library conf/ is neither beside nor inside .*cluster_sim: reinstall"):
        library_root()
    (tmp_path / place / "devices").mkdir(parents=True)
    assert library_root() == tmp_path / place


def test_own_file_and_unknown_name(tmp_path: Path) -> None:
    """A path to a file of the user's own stands for itself; an unknown name lists the known ones."""
    own = tmp_path / "mine.yaml"
    own.touch()
    assert library_file("models", str(own)) == own
    with pytest.raises(InputError, match=r"conf/devices has: .*h100-sxm"):
        library_file("devices", "h1000")


@pytest.mark.parametrize("load", [load_model, load_device, match_model, match_device])
def test_names_too_long_for_a_path_are_unknown(load: Callable[[str], object]) -> None:
    """5,000 characters are no file's name to the system; whoever gives them hears of an unknown name, cut short."""
    with pytest.raises(InputError, match=r"unknown.*9999\.\.\. \(5002 characters\)") as found:
        load("9" * 5000)
    assert len(str(found.value)) < 4000


def test_repositories_of_hugging_face() -> None:
    """A repository means the entry with its figures, base and chat variants alike; another precision does not."""
    assert named_by_repository("models", "Qwen/Qwen3-8B") == "qwen3-8b"
    assert named_by_repository("models", "meta-llama/Llama-3.1-8B") == "llama-3.1-8b"
    assert named_by_repository("models", "google/gemma-3-27b-it") == "gemma-3-27b"
    assert named_by_repository("models", "nvidia/DeepSeek-R1-NVFP4") is None
    assert library_file("models", "zai-org/GLM-4.5-Air").name == "glm-4.5-air.yaml"
