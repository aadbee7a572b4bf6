"""Build wheels: one of the sources, for every machine, and one with the compiled step loop of this checkout, for
machines with the same Python and architecture.  ``python scripts/build_wheels.py --out dist``; the second is left out
where ``scripts/build_kernel.py`` has not been run.
"""

import argparse
import base64
import hashlib
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from cluster_sim.kernel import binary  # noqa: E402 - the packages stand beside this folder
from cluster_sim.kernel.names import KERNEL  # noqa: E402


def main() -> None:
    """Build both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="folder of the wheels (default dist)")
    folder: Path = parser.parse_args().out
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(command, check=True)
    plain = max(folder.glob("cluster_sim-*-py3-none-any.whl"), key=lambda path: path.stat().st_mtime)
    print(plain)
    fault = binary.fault()
    if fault:
        print(f"no wheel with the compiled step loop: {fault}", file=sys.stderr)
    else:
        print(with_kernel(plain))


def kernel_files() -> list[Path]:
    """Return the files of the compiled step loop."""
    return sorted(path for path in [*ROOT.glob(f"{KERNEL}__mypyc.*"), *(ROOT / KERNEL).rglob("*")] if path.is_file())


def platform_tag() -> str:
    """Return the tag of wheels for this Python and architecture."""
    python = f"cp{sys.version_info.major}{sys.version_info.minor}"
    return f"{python}-{python}-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"


def with_kernel(plain: Path) -> Path:
    """Write the wheel of the sources and the compiled step loop beside that of the sources; return it."""
    tag = platform_tag()
    target = plain.with_name(plain.name.replace("py3-none-any", tag))
    records: list[str] = []
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as made:

        def add(name: str, data: bytes) -> None:
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            records.append(f"{name},sha256={digest},{len(data)}")
            made.writestr(name, data)

        record = next(name for name in source.namelist() if name.endswith(".dist-info/RECORD"))
        for name in source.namelist():
            data = source.read(name)
            if name.endswith(".dist-info/WHEEL"):
                text = data.decode().replace("Root-Is-Purelib: true", "Root-Is-Purelib: false")
                data = text.replace("Tag: py3-none-any", f"Tag: {tag}").encode()
            if name != record:
                add(name, data)
        for path in kernel_files():
            if "__pycache__" not in path.parts:
                add(path.relative_to(ROOT).as_posix(), path.read_bytes())
        made.writestr(record, "\n".join([*records, f"{record},,", ""]))
    return target


if __name__ == "__main__":
    main()
