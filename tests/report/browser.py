"""A real browser without network, driven from the command line."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pytest

_PROBE = """<script>addEventListener("load", () => {
const wide = [...document.querySelectorAll("main *")].filter((e) => e.getBoundingClientRect().right > innerWidth + 1
  && !e.closest(".scroll, pre, svg") && getComputedStyle(e).position !== "absolute")
  .map((e) => e.outerHTML.slice(0, 90));
const move = (plot) => { const box = plot.getBoundingClientRect();
  plot.dispatchEvent(new PointerEvent("pointermove", {clientX: box.left + box.width / 2, clientY: box.top + 9})); };
document.querySelectorAll(".plot").forEach(move);
const sorts = document.querySelector("table.sortable th:last-child button");
if (sorts) sorts.click();
parent.postMessage(JSON.stringify({
  width: innerWidth, page: document.documentElement.scrollWidth, wide,
  tips: [...document.querySelectorAll(".tip")].map((tip) => tip.innerText),
  lines: [...document.querySelectorAll("path.line")].filter((path) => path.getBoundingClientRect().width > 9).length,
  sorted: [...document.querySelectorAll("table.sortable tbody tr")].map((row) => row.lastElementChild.innerText),
  asked: performance.getEntriesByType("resource").map((entry) => entry.name),
  ms: performance.getEntriesByType("navigation")[0].loadEventStart, }), "*"); });</script>"""
_FRAME = """<!doctype html><pre id="probe"></pre><script>addEventListener("message", (event) => {
document.getElementById("probe").textContent = event.data; });</script>
<iframe src="PAGE" style="width:WIDTHpx;height:900px;border:0"></iframe>"""
"""A frame as narrow as a phone, which a window cannot be."""


class Shown(NamedTuple):
    """What a browser made of a page."""

    probe: dict[str, Any]
    messages: list[str]
    """What it wrote to its console."""


def show(page: Path, folder: Path, width: int) -> Shown:
    """Open a page in Chromium, move the pointer over every chart, sort the table; skip the test without Chromium."""
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("needs chromium (Debian package of that name)")
    probed = folder / f"probed-{width}.html"
    probed.write_text(page.read_text(encoding="utf-8").replace("</body>", f"{_PROBE}</body>"), encoding="utf-8")
    frame = folder / f"frame-{width}.html"
    frame.write_text(_FRAME.replace("PAGE", probed.name).replace("WIDTH", str(width)), encoding="utf-8")
    done = subprocess.run(
        [
            *(browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}"),
            *("--host-resolver-rules=MAP * ~NOTFOUND", "--virtual-time-budget=3000", "--enable-logging=stderr"),
            *("--window-size=1400,1000", "--hide-scrollbars", "--dump-dom", frame.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=90,
        check=True,
    )
    found = re.search(r'<pre id="probe">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, done.stderr[-2000:]
    text = found[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    return Shown(json.loads(text), re.findall(r"CONSOLE[^\n]*", done.stderr))
