"""Endpoint picker of llm-d and of the Gateway API inference extension, from its own configuration files."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal

from pydantic import Field

from cluster_sim.engine.observation import Grid
from cluster_sim.errors import InputError
from cluster_sim.options import LONGEST_RUN_S, ConfigModel
from cluster_sim.routing.candidates import Candidates
from cluster_sim.routing.endpoint_picker.admission_sections import picker_admission
from cluster_sim.routing.endpoint_picker.config_reader import PickerConfig, read_config
from cluster_sim.routing.endpoint_picker.parts import Part
from cluster_sim.routing.endpoint_picker.picker_document import DEFAULT_CONFIG, PickerDocument
from cluster_sim.routing.endpoint_picker.scheduler import EndpointScheduler
from cluster_sim.routing.kv_events import KvEvents
from cluster_sim.routing.options import RouterOptions
from cluster_sim.routing.policy_interface import ROUTING_POLICIES, Choice, RoutingPolicy
from cluster_sim.serving.content_sampler import ADAPTERS
from cluster_sim.serving.messages import AdapterSample, PrefixSample, Sample
from cluster_sim.units import NS_PER_MS, NS_PER_S
from cluster_sim.workload.request import Request


class RequestObjective(ConfigModel):
    """Latencies that the requests of one class ask for."""

    slo_class: str = Field("", description="Service class, a trait of the workload; empty for every other.")
    ttft_s: float = Field(gt=0, le=LONGEST_RUN_S, description="Time to the first token.")
    tpot_s: float = Field(gt=0, le=LONGEST_RUN_S, description="Time between two tokens.")


class EndpointPickerOptions(RouterOptions):
    """Filters, scorers and pickers of llm-d, as an EndpointPickerConfig file says."""

    policy: Literal["endpoint_picker"] = Field("endpoint_picker", description="llm-d's endpoint picker.")
    config: PickerDocument = Field(  # type: ignore[assignment]
        DEFAULT_CONFIG,
        description="EndpointPickerConfig: the path of a file of llm-d, or its content; the default is what the "
        "Gateway API inference extension installs.",
    )
    kv_events: KvEvents = Field(
        KvEvents(),
        description="Age of what precise-prefix-cache-scorer knows of caches.",
    )
    request_objectives: tuple[RequestObjective, ...] = Field(
        (), max_length=1000, description="Latencies that latency-scorer and slo-headroom-tier-filter hold against."
    )

    def read(self) -> PickerConfig:
        """Return what the file says; raise InputError if it was not read."""
        content: Any = self.config
        if not isinstance(content, dict):
            raise InputError(f"router.config: the file {content} was not read, since nobody said where the study is")
        return read_config(content)

    @property
    def own_admission(self) -> ConfigModel | None:
        """The file's saturation detector, flow control and admitters; its scrapes are the router's telemetry."""
        admission = picker_admission(self.read())
        detector = admission.detector
        if detector is None:
            return admission if admission.is_active else None
        if "period_ms" in type(detector).model_fields and self.telemetry.period_ns:
            ages = {"period_ms": self.telemetry.period_ms, "latency_ms": self.telemetry.latency_ms}
            admission = admission.model_copy(update={"detector": detector.model_copy(update=ages)})
        return admission

    @property
    def notices(self) -> Sequence[str]:
        """The parts of the file that mean nothing here."""
        return [f"router.config: {notice}" for notice in self.read().notices]

    @property
    def reads_step_figures(self) -> bool:
        return any(plugin.part.predicts_latencies for plugin in self.read().plugins)


@ROUTING_POLICIES.register("endpoint_picker", EndpointPickerOptions)
class EndpointPicker(RoutingPolicy):
    """What the profiles of the file choose."""

    chooses_pairs: ClassVar = True
    sampled_fields: ClassVar = ("running", "waiting", "kv_used_ratio")
    """What some part may read; a picker reads what its own parts do."""

    def __init__(self, options: EndpointPickerOptions, candidates: Candidates) -> None:
        objectives = {
            objective.slo_class: (round(objective.ttft_s * NS_PER_S), round(objective.tpot_s * NS_PER_S))
            for objective in options.request_objectives
        }
        try:
            self._scheduler = EndpointScheduler(options.read(), candidates, objectives)
        except InputError as error:
            message = str(error)
            raise InputError(message if message.startswith("router.") else f"router.config: {message}") from None
        parts = list(self._scheduler.parts)
        # What is observed depends on the parts of the file, not on the class.
        setting = {
            "sampled_fields": tuple(sorted({name for part in parts for name in part.sampled_fields})),
            "observes_responses": any(part.counts_requests or part.counts_first_tokens for part in parts),
            "observes_first_tokens": any(part.counts_first_tokens for part in parts),
        }
        self.__dict__.update(setting)
        super().__init__(options, candidates)
        self.observation = replace(self.observation, grids=tuple(_grids(options, parts)))
        self._reads = frozenset(self.sampled_fields)

    def choose(self, request: Request, now_ns: int, eligible: Sequence[int] | None) -> int:
        """Return the endpoint that decodes; nobody computes prompts for others here."""
        return self._scheduler.schedule(request, now_ns, eligible, ()).decode

    def choose_pair(
        self, request: Request, now_ns: int, decode_eligible: Sequence[int], prefill_eligible: Sequence[int]
    ) -> Choice:
        selection = self._scheduler.schedule(request, now_ns, decode_eligible, prefill_eligible)
        return Choice(selection.decode, selection.prefill)

    def on_sample(self, position: int, sample: Sample) -> None:
        """Keep the figures that some part reads."""
        endpoints, reads = self._scheduler.endpoints, self._reads
        if "waiting" in reads:
            endpoints.waiting[position] = sample.waiting
        if "running" in reads:
            endpoints.running[position] = sample.running
        if "kv_used_ratio" in reads:
            endpoints.kv_used[position] = sample.kv_used_ratio

    def on_prefixes(self, position: int, sample: PrefixSample) -> None:
        for part in self._scheduler.parts:
            if part.reads_kv_events:
                part.on_kv_events(position, sample.changes)

    def on_adapters(self, position: int, sample: AdapterSample) -> None:
        self._scheduler.endpoints.set_adapters(position, sample.active, sample.waiting)

    def on_first_token(self, position: int, request: Request) -> None:
        self._scheduler.on_first_token(position, request)

    def on_end(self, position: int, request: Request) -> None:
        self._scheduler.on_end(position, request)

    def on_join(self, position: int) -> None:
        self._scheduler.on_join(position)

    def on_leave(self, position: int) -> None:
        self._scheduler.on_leave(position)


def _grids(options: EndpointPickerOptions, parts: Sequence[Part]) -> Iterator[Grid]:
    """Yield the grids of samples that some part reads at every decision."""
    if any(part.reads_kv_events for part in parts):
        yield options.kv_events.grid()
    if any(part.reads_adapters for part in parts):
        telemetry = options.telemetry
        yield _grid(ADAPTERS, telemetry.period_ms, telemetry.latency_ms)


def _grid(name: str, period_ms: float, latency_ms: float) -> Grid:
    """Return a grid; perfect knowledge, a period of 0, is taken for the least period of a grid, 1 us."""
    period_ns = max(round(period_ms * NS_PER_MS), 1000)
    return Grid(name, period_ns, round(latency_ms * NS_PER_MS), frozenset({name}), is_read_by_schedules=True)
