"""Nothing of the machine a study runs on is in its result."""

import os
import subprocess
import sys
from pathlib import Path

from tests.small_run import STUDY

VARIED = (
    "workload.traits={prefix: {levels: [{count: 5, tokens: 100}, {count: 20, tokens: 60}]}, lora_pool: 5}",
    "fleet.pools.0.engine={num_kv_blocks: 300, enable_prefix_caching: true, lora: {max_loras: 2, load_ms: 3.0}}",
    "router.client_timeout_s=5.0",
)
FILES = ("summary.json", "requests.parquet", "series.parquet", "resolved.yaml")


def files_of(folder: Path, **environment: str) -> dict[str, bytes]:
    """Return what a run in a process of its own writes, in ``folder``, under these variables."""
    folder.mkdir()
    (folder / "study.yaml").write_text(STUDY, encoding="utf-8")
    overrides = [word for override in VARIED for word in ("--set", override)]
    command = [sys.executable, "-m", "cluster_sim", "run", "study.yaml", "--executor", "inline", "--out", "größe"]
    path = os.pathsep.join(sys.path)
    subprocess.run(
        [*command, *overrides],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": path} | environment,
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return {name: (folder / "größe" / name).read_bytes() for name in FILES}


def test_hash_seed_zone_locale_and_folder_change_nothing(tmp_path: Path) -> None:
    """The same bytes under another hash seed, time zone and locale, in a folder whose name is not ASCII."""
    plain = files_of(tmp_path / "plain", PYTHONHASHSEED="1", TZ="UTC", LC_ALL="C.UTF-8")
    other = files_of(tmp_path / "käse 日本", PYTHONHASHSEED="77", TZ="Pacific/Chatham", LC_ALL="C")
    assert {name: plain[name] == other[name] for name in FILES} == dict.fromkeys(FILES, True)
