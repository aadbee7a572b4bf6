"""Findings of an import: what of a deployment has no effect here, is not understood, or is not modelled."""

from dataclasses import dataclass, field

from cluster_sim.errors import InputError

MOST_REFUSALS = 10
"""Settings that one message lists."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A setting of a deployment, and what is to be said about it."""

    place: str
    """File and line."""
    setting: str
    text: str = ""

    def __str__(self) -> str:
        return f"{self.place}: {self.setting}{': ' if self.text else ''}{self.text}"


@dataclass(slots=True)
class Findings:
    """Everything that an import has to say."""

    without_effect: list[Finding] = field(default_factory=list)
    """Settings that change nothing that a study predicts."""
    not_understood: list[Finding] = field(default_factory=list)
    """Settings that are unknown here."""
    not_modelled: list[Finding] = field(default_factory=list)
    """Settings that change results, and that the simulator has not."""
    assumed: list[Finding] = field(default_factory=list)
    """Values of the study that the deployment leaves open, or says in another way."""

    def ignore(self, place: str, setting: str, text: str = "") -> None:
        """Note a setting without effect."""
        self.without_effect.append(Finding(place, setting, text))

    def wonder(self, place: str, setting: str, text: str) -> None:
        """Note a setting that is not understood."""
        self.not_understood.append(Finding(place, setting, text))

    def miss(self, place: str, setting: str, text: str) -> None:
        """Note a setting that is not modelled."""
        self.not_modelled.append(Finding(place, setting, text))

    def assume(self, place: str, setting: str, text: str) -> None:
        """Note a value that was filled in."""
        self.assumed.append(Finding(place, setting, text))

    def refuse(self) -> None:
        """Raise InputError where settings are not modelled; the message names each with file, line and key."""
        found = list(dict.fromkeys(self.not_modelled))
        if not found:
            return
        lines = [str(finding) for finding in found[:MOST_REFUSALS]]
        if len(found) > MOST_REFUSALS:
            lines.append(f"... and {len(found) - MOST_REFUSALS} more")
        lines.append("This is not modelled; --allow-unmodelled imports the rest and lists what was left out.")
        raise InputError("\n".join(lines))

    def sections(self) -> list[tuple[str, list[Finding]]]:
        """Return the titles of all kinds of findings with the findings, each once; empty kinds are left out."""
        kinds = (
            ("Left out, because it is not modelled", self.not_modelled),
            ("Not understood, so left out", self.not_understood),
            ("Assumed", self.assumed),
            ("Ignored, as it has no effect on a study", self.without_effect),
        )
        return [(title, list(dict.fromkeys(found))) for title, found in kinds if found]
