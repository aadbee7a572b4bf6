"""Pictures of a report page, wide and as on a phone, in light and dark colours; needs Chromium.

``python scripts/screenshot_report.py DIR/report.html --out build/screenshots`` writes four PNG files; ``--readme``
writes the picture of the README, the upper part of the wide page.
"""

import argparse
import shutil
import subprocess
import tempfile
from pathlib import Path

WIDTHS = {"wide": 1280, "phone": 390}
THEMES = ("light", "dark")
README_HEIGHT = 1000


def main() -> None:
    """Take the pictures that the command line asks for."""
    parser = argparse.ArgumentParser(description="Pictures of a report page, taken with Chromium.")
    parser.add_argument("page", type=Path, help="report.html of a run or a sweep")
    parser.add_argument("--out", type=Path, default=Path("build/screenshots"), help="folder of the pictures")
    parser.add_argument("--height", type=int, default=6000, help="pixels from the top of the page")
    parser.add_argument("--readme", type=Path, help="write the README's picture to this file instead")
    options = parser.parse_args()
    if options.readme is not None:
        take(options.page, options.readme, WIDTHS["wide"], README_HEIGHT, "light")
        return
    options.out.mkdir(parents=True, exist_ok=True)
    for size, width in WIDTHS.items():
        for theme in THEMES:
            picture = options.out / f"{options.page.stem}-{size}-{theme}.png"
            take(options.page, picture, width, options.height * (1 if size == "wide" else 2), theme)
            print(picture)


def take(page: Path, picture: Path, width: int, height: int, theme: str) -> None:
    """Write one picture of the upper ``height`` pixels of a page, ``width`` wide."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        raise SystemExit("needs Chromium: apt-get install chromium")
    with tempfile.TemporaryDirectory() as folder:
        themed = Path(folder) / "page.html"
        text = page.read_text(encoding="utf-8")
        themed.write_text(text.replace("<html ", f'<html data-theme="{theme}" ', 1), encoding="utf-8")
        subprocess.run(
            [
                *(browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
                *(f"--user-data-dir={folder}/profile", f"--window-size={width},{height}"),
                *("--virtual-time-budget=3000", f"--screenshot={picture.resolve()}", themed.as_uri()),
            ],
            check=True,
            capture_output=True,
        )


if __name__ == "__main__":
    main()
