"""EndpointPickerConfig files: defaults, older names, what is left out, and what is refused with the path of its key."""

from pathlib import Path
from typing import Any

import pytest

from cluster_sim.document import Document, dotted
from cluster_sim.named_document import DocumentError
from cluster_sim.routing.endpoint_picker.config_reader import PickerConfig, read_config
from cluster_sim.routing.endpoint_picker.durations import duration_ns
from tests.routing.endpoint_picker.picking import HEAD, config

EXAMPLES = Path(__file__).resolve().parents[4] / "shared/epp"
FILES = sorted(EXAMPLES.glob("*.yaml"))


def read(text: str) -> PickerConfig:
    return read_config(Document.parse(text, "epp.yaml").data)


def types(found: PickerConfig) -> list[str]:
    return [plugin.options.type for plugin in found.plugins]


def test_defaults() -> None:
    """Names are types, weights 1; a picker and a handler are added; without profiles one has every plugin."""
    found = read_config(config("queue-scorer", {"type": "decode-filter", "name": "decoders"}))
    assert [plugin.name for plugin in found.plugins] == [
        "queue-scorer",
        "decoders",
        "max-score-picker",
        "single-profile-handler",
    ]
    (profile,) = found.profiles
    assert profile.name == "default"
    assert [(each.name, each.weight) for each in profile.references] == [
        ("queue-scorer", 1.0),
        ("decoders", 1.0),
        ("max-score-picker", 1.0),
    ]
    assert found.notices == []


def test_everything_that_a_file_may_say() -> None:
    """Names, weights, parameters in any letter case, durations, and a picker of its own."""
    found = read("""
apiVersion: inference.networking.x-k8s.io/v1alpha1
kind: EndpointPickerConfig
featureGates: [flowControl]
plugins:
- name: mine
  type: precise-prefix-cache-scorer
  parameters: {speculativettl: 1m30s, tokenProcessorConfig: {blockSize: 64, hashSeed: "7"}}
- {type: random-picker, parameters: {maxNumOfEndpoints: 1}}
schedulingProfiles:
- name: first
  plugins: [{pluginRef: mine, weight: 2.5}, {pluginRef: random-picker}]
""")
    assert found.feature_gates == {"flowControl"}
    options: Any = found.plugins[0].options
    assert options.speculative_ttl == 90_000_000_000
    assert options.token_processor_config.block_size == 64
    assert [(each.name, each.weight) for each in found.profiles[0].references] == [
        ("mine", 2.5),
        ("random-picker", 1.0),
    ]
    assert found.notices == [
        "plugins.1.parameters.maxNumOfEndpoints: random-picker has no such parameter here; it is left out"
    ]


def test_older_names() -> None:
    """Plugins are found by the names that they had, also where a profile refers to them by the present one."""
    profiles = [{"name": "p", "plugins": [{"pluginRef": "queue"}, {"pluginRef": "kv-cache-scorer"}]}]
    found = read_config(config("queue", "kv-cache-scorer", "max-score", "single-profile", schedulingProfiles=profiles))
    assert types(found) == [
        "queue-scorer",
        "kv-cache-utilization-scorer",
        "max-score-picker",
        "single-profile-handler",
        "max-score-picker",
    ]


def test_parts_without_meaning_are_named() -> None:
    """Parts that serve real servers are left out wherever they stand, and sections that nobody reads are named."""
    found = read_config(
        config(
            "queue-scorer",
            {"type": "token-producer", "parameters": {"modelName": "m"}},
            {"type": "metrics-data-source", "name": "scraper"},
            "core-metrics-extractor",
            "k8s-notification-source",
            "openai-parser",
            schedulingProfiles=[{"name": "p", "plugins": [{"pluginRef": "queue-scorer"}, {"pluginRef": "scraper"}]}],
            data={"sources": [{"pluginRef": "scraper"}]},
        )
    )
    assert found.notices == [
        "data: means nothing in a simulation",
        "plugins.1: token-producer means nothing in a simulation and is left out",
        "plugins.2: metrics-data-source means nothing in a simulation and is left out",
        "plugins.3: core-metrics-extractor means nothing in a simulation and is left out",
        "plugins.4: k8s-notification-source means nothing in a simulation and is left out",
        "plugins.5: openai-parser means nothing in a simulation and is left out",
    ]
    assert [each.name for each in found.profiles[0].references] == ["queue-scorer", "max-score-picker"]


@pytest.mark.parametrize(
    ("document", "path", "text"),
    [
        ({**HEAD, "kind": "Pod"}, "kind", "is 'Pod'; it must be EndpointPickerConfig"),
        ({"kind": HEAD["kind"]}, "apiVersion", "is missing; it must be llm-d.ai/v1alpha1 or inference"),
        (config("queue-score"), "plugins.0.type", "unknown plugin 'queue-score'; did you mean 'queue-scorer'"),
        (config({"name": "x"}), "plugins.0.type", "is required"),
        (config("queue-scorer", "queue-scorer"), "plugins.1.name", "a second plugin is called 'queue-scorer'"),
        (
            config("queue-scorer", schedulingProfiles=[{"name": "p", "plugins": [{"pluginRef": "queue-scorers"}]}]),
            "schedulingProfiles.0.plugins.0.pluginRef",
            "the file has no plugin 'queue-scorers'; did you mean 'queue-scorer'",
        ),
        (
            config("queue-scorer", schedulingProfiles=[{"name": "p", "plugins": [{"weight": 1}]}]),
            "schedulingProfiles.0.plugins.0.pluginRef",
            "is required",
        ),
        (
            config("queue-scorer", schedulingProfiles=[{"name": "p", "plugins": [{"pluginRef": "x", "weight": "2"}]}]),
            "schedulingProfiles.0.plugins.0.weight",
            "must be a number",
        ),
        (config("queue-scorer", schedulingProfiles=[{"plugins": []}]), "schedulingProfiles.0.name", "is required"),
        (
            config("queue-scorer", schedulingProfiles=[{"name": "a"}, {"name": "a"}]),
            "schedulingProfiles.1.name",
            "a second profile is called 'a'",
        ),
        (
            config("queue-scorer", schedulingProfiles=[{"name": "a"}, {"name": "b"}]),
            "plugins",
            "2 profiles need a profile handler",
        ),
        (config("single-profile-handler", "pd-profile-handler"), "plugins", "are all profile handlers: keep one"),
        (config("max-score-picker", "random-picker"), "plugins", "profile 'default' has 2 pickers"),
        (
            config({"type": "load-aware-scorer", "parameters": {"threshold": 0}}),
            "plugins.0.parameters.threshold",
            "greater than or equal to 1",
        ),
        (
            config({"type": "precise-prefix-cache-scorer", "parameters": {"speculativeTTL": "soon"}}),
            "plugins.0.parameters.speculativeTTL",
            "must be a duration such as 50ms or 1m30s",
        ),
        (config("queue-scorer", saturationDetector={"pluginRef": "x"}), "saturationDetector.pluginRef", "'x'"),
        ({**HEAD, "plugins": "queue-scorer"}, "plugins", "must be a list"),
    ],
)
def test_faults_name_the_key(document: dict[str, Any], path: str, text: str) -> None:
    """Each fault says where it stands and what would be right."""
    with pytest.raises(DocumentError) as caught:
        read_config(document)
    assert dotted(caught.value.path) == path
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("50ms", 50_000_000), ("1m30s", 90_000_000_000), ("1.5h", 5_400_000_000_000), ("2us", 2000), (7, 7), ("0", 0)],
)
def test_durations(text: str | int, expected: int) -> None:
    """Go's notation; plain numbers are nanoseconds."""
    assert duration_ns(text) == expected


@pytest.mark.parametrize("text", ["", "5", "5 s", "s", "5x", "5sm", "-5s"])
def test_what_is_no_duration(text: str) -> None:
    """Anything else is refused."""
    with pytest.raises(ValueError, match="must be a duration"):
        duration_ns(text)


@pytest.mark.skipif(not FILES, reason="the examples are not part of the repository")
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_files_of_llm_d_are_read(path: Path) -> None:
    """The unmodified files have a picker in each profile and one handler."""
    found = read_config(Document.read(path).data)
    assert all(any(each.name.endswith("picker") for each in profile.references) for profile in found.profiles)
    assert sum(plugin.options.type.endswith("handler") for plugin in found.plugins) == 1
