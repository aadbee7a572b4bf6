"""A whole page: head, style, script and body in one file that loads nothing from anywhere."""

from pathlib import Path
from typing import Final

from cluster_sim.report.page.markup import Content, Markup, element, markup

_HERE: Final = Path(__file__).parent


def document(title: str, *content: Content, footer: Content = "") -> str:
    """Return the page as text; ``title`` is its name and first heading."""
    style = Markup((_HERE / "page.css").read_text(encoding="utf-8"))
    script = Markup((_HERE / "page.js").read_text(encoding="utf-8"))
    button = Markup('<button id="theme" type="button" hidden>Dark colours</button>')
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        # Nothing is fetched, whatever a study's text holds.
        element(
            "meta",
            http_equiv="Content-Security-Policy",
            content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:",
        ),
        element("title", f"{title} - cluster_sim"),
        element("style", style),
    )
    body = element(
        "body",
        element("header", element("h1", title), button),
        element("main", *content),
        element("footer", footer),
        element("script", script),
    )
    return f'<!doctype html>\n<html lang="en">{head}{markup(body)}</html>\n'
