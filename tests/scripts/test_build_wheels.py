"""The wheel that carries the compiled step loop."""

import base64
import hashlib
import sys
import zipfile
from pathlib import Path

import pytest

PLAIN = {
    "cluster_sim/__init__.py": b"",
    "cluster_sim-1.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    "cluster_sim-1.dist-info/RECORD": b"cluster_sim/__init__.py,,\n",
}
KERNEL = {
    "cluster_sim_kernel/stamp.json": b"{}",
    "cluster_sim_kernel/seal.so": b"seal",
    "cluster_sim_kernel__mypyc.so": b"large",
}


@pytest.fixture
def made(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The wheel made of a plain one and of a compiled step loop that has been imported."""
    monkeypatch.syspath_prepend(str(checkout / "scripts"))
    import build_wheels

    monkeypatch.setattr(build_wheels, "ROOT", tmp_path)
    monkeypatch.setattr(build_wheels, "platform_tag", lambda: "cp311-cp311-linux_x86_64")
    for name, data in {**KERNEL, "cluster_sim_kernel/__pycache__/seal.pyc": b"not carried"}.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    plain = tmp_path / "cluster_sim-1-py3-none-any.whl"
    with zipfile.ZipFile(plain, "w") as wheel:
        for name, data in PLAIN.items():
            wheel.writestr(name, data)
    target = build_wheels.with_kernel(plain)
    sys.modules.pop("build_wheels")
    return target


def test_the_wheel_names_its_platform(made: Path) -> None:
    """In the name of its file and in its description, so that no other Python or CPU installs it."""
    assert made.name == "cluster_sim-1-cp311-cp311-linux_x86_64.whl"
    with zipfile.ZipFile(made) as wheel:
        text = wheel.read("cluster_sim-1.dist-info/WHEEL").decode()
    assert text == "Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: cp311-cp311-linux_x86_64\n"


def test_the_record_lists_every_file(made: Path) -> None:
    """Sources and step loop, each with its hash and size, and the record itself with neither."""
    with zipfile.ZipFile(made) as wheel:
        names = wheel.namelist()
        record = wheel.read("cluster_sim-1.dist-info/RECORD").decode().splitlines()
        contents = {name: wheel.read(name) for name in names[:-1]}
    assert sorted(names) == sorted({**PLAIN, **KERNEL})
    expected = [
        f"{name},sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b'=').decode()},{len(data)}"
        for name, data in contents.items()
    ]
    assert record == [*expected, "cluster_sim-1.dist-info/RECORD,,"]
