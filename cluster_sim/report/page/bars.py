"""Bars of shares: one line for each thing, divided into parts."""

from collections.abc import Mapping, Sequence

from cluster_sim.report.page.markup import Markup, element

_LEAST_RATIO = 0.002
"""Share below which a part is not drawn."""


def share_bar(parts: Mapping[str, float], words: Mapping[str, str], longest: float, texts: Mapping[str, str]) -> Markup:
    """Return a bar of parts, as long as their sum is of ``longest``.

    ``words`` say what each part is, ``texts`` how much it is; a part has the style class ``part-NAME``.
    """
    total = sum(parts.values())
    pieces = [
        element(
            "i",
            class_=f"part part-{name}",
            style=f"width:{100 * value / longest:.3f}%",
            title=f"{words[name]}: {texts[name]}",
        )
        for name, value in parts.items()
        if longest and value / longest > _LEAST_RATIO
    ]
    spoken = ", ".join(
        f"{words[name]} {texts[name]}" for name, value in parts.items() if total and value / total > 0.01
    )
    return element("span", *pieces, class_="bar", role="img", aria_label=spoken or "nothing")


def part_legend(names: Sequence[str], words: Mapping[str, str]) -> Markup:
    """Return the legend of some parts."""
    return element(
        "ul",
        *(element("li", element("i", class_=f"key part part-{name}"), words[name]) for name in names),
        class_="legend",
    )
