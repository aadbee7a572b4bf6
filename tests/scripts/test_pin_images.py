"""The digests of the images that the containers are made of."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

DOCKER = """\
#!/bin/sh
test "$1 $2 $3" = "buildx imagetools inspect" || exit 2
case "$4" in
    prom/*) printf 'sha256:%064d\\n' {prometheus} ;;
    *) {others} ;;
esac
"""
NUMBERED = "printf 'sha256:%064d\\n' 2"


@pytest.fixture
def copy(checkout: Path, tmp_path: Path) -> Path:
    """A folder with the two files, as they are in the repository."""
    for name in ("docker-compose.yml", "Dockerfile"):
        shutil.copy(checkout / name, tmp_path / name)
    return tmp_path


def pin(checkout: Path, copy: Path, others: str = NUMBERED, prometheus: int = 1) -> subprocess.CompletedProcess[str]:
    """Run the script on the copy, with a Docker that knows these digests."""
    folder = copy / "bin"
    folder.mkdir(exist_ok=True)
    docker = folder / "docker"
    docker.write_text(DOCKER.format(others=others, prometheus=prometheus), encoding="utf-8")
    docker.chmod(0o755)
    return subprocess.run(
        [sys.executable, str(checkout / "scripts" / "pin_images.py"), "--root", str(copy)],
        env={**os.environ, "PATH": f"{folder}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_each_foreign_image_gets_its_digest(checkout: Path, copy: Path) -> None:
    """Behind its tag, and a second time in place of the first; images that are built here and stages stay."""
    assert pin(checkout, copy, prometheus=3).returncode == 0
    done = pin(checkout, copy)
    assert done.returncode == 0, done.stderr
    compose = (copy / "docker-compose.yml").read_text(encoding="utf-8")
    assert f"image: prom/prometheus:v3.5.0@sha256:{1:064d}\n" in compose
    assert f"image: grafana/grafana:12.1.0@sha256:{2:064d}\n" in compose
    assert "image: cluster-sim:0.1.0\n" in compose
    dockerfile = (copy / "Dockerfile").read_text(encoding="utf-8")
    assert f"FROM python:3.11-slim-bookworm@sha256:{2:064d} AS versions\n" in dockerfile
    assert dockerfile.endswith((checkout / "Dockerfile").read_text(encoding="utf-8").split("FROM versions\n")[1])
    assert done.stdout.count("@sha256:") == 3


@pytest.mark.parametrize("others", ["echo no such image >&2; exit 1", "echo latest"])
def test_an_unknown_digest_changes_nothing(checkout: Path, copy: Path, others: str) -> None:
    """One image that Docker does not know leaves both files as they were, and is named."""
    done = pin(checkout, copy, others)
    assert done.returncode == 1
    assert "docker does not say which image grafana/grafana:12.1.0 is" in done.stderr
    for name in ("docker-compose.yml", "Dockerfile"):
        assert (copy / name).read_bytes() == (checkout / name).read_bytes()
