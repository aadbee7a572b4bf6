"""Digests of the images that the containers are made of: ``python scripts/pin_images.py``, or ``make pin-images``.

A tag can be moved to other content; a digest cannot.  Docker is asked which image the tag of each image in
``docker-compose.yml`` and ``Dockerfile`` names today, and the digest is written behind the tag
(``prom/prometheus:v3.5.0@sha256:...``).  Run again, it renews the digests.  Images that are built here have none.
"""

import argparse
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
FILES: Final = ("docker-compose.yml", "Dockerfile")
OWN: Final = "cluster-sim"
_IMAGE: Final = re.compile(r"^(\s*(?:image:|FROM)\s+)([\w./-]+:[\w.-]+)(?:@sha256:[0-9a-f]{64})?(?=\s|$)", re.MULTILINE)
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")


class UnknownDigestError(Exception):
    """An image whose digest Docker does not say."""


def main() -> int:
    """Write the digests into both files; return 1, having changed neither, if one is not known."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=ROOT, help="folder of the two files")
    root: Path = parser.parse_args().root
    try:
        pinned = {path: with_digests(path.read_text(encoding="utf-8")) for path in (root / name for name in FILES)}
    except UnknownDigestError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for path, text in pinned.items():
        path.write_text(text, encoding="utf-8")
        for match in _IMAGE.finditer(text):
            if not is_built_here(match[2]):
                print(f"{path.name}: {match[0].split()[-1]}")
    return 0


def with_digests(text: str) -> str:
    """Return a Compose file or a Dockerfile with the digest of each image behind its tag."""
    return _IMAGE.sub(
        lambda match: match[0] if is_built_here(match[2]) else f"{match[1]}{match[2]}@{digest_of(match[2])}", text
    )


def is_built_here(image: str) -> bool:
    """Return whether an image comes from the Dockerfile and not from a registry."""
    return image.split(":", maxsplit=1)[0] == OWN


def digest_of(image: str) -> str:
    """Return the digest that a tag names: of the list of platforms, so that every platform finds its own image.

    Raises ``UnknownDigestError`` if Docker is missing, or does not say.
    """
    command = ["docker", "buildx", "imagetools", "inspect", image, "--format", "{{.Manifest.Digest}}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise UnknownDigestError("docker is not installed; it is asked for the digests of the images") from None
    found = _DIGEST.fullmatch(done.stdout.strip())
    if done.returncode or found is None:
        raise UnknownDigestError(f"docker does not say which image {image} is: {(done.stderr or done.stdout).strip()}")
    return found[0]


if __name__ == "__main__":
    raise SystemExit(main())
