"""Options of a workload, a union by ``kind``.

``trace`` replays a file; ``synthetic`` draws requests; ``closed_loop``, ``sessions`` and ``agentic`` react to how
requests fare; ``clients`` and ``mix`` put several together at once, ``phases`` one after the other; ``servegen``
generates from a ServeGen client folder.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from cluster_sim.options import InputFile
from cluster_sim.workload.arrival_options import Arrivals
from cluster_sim.workload.sampling.options import Distribution
from cluster_sim.workload.trait_options import Lengths, TraitBase, Traits

TraceFormat = Literal["auto", "azure", "vidur", "burstgpt", "mooncake", "bailian", "timed_trace", "sharegpt", "parquet"]
"""Formats ``trace`` reads; ``auto`` looks at the file's first rows."""


class Clip(TraitBase):
    """Bounds on lengths: requests outside are cut to them or dropped (both are counted)."""

    min_prompt_tokens: int | None = Field(default=None, ge=1, description="Least prompt tokens.")
    max_prompt_tokens: int | None = Field(default=None, ge=1, description="Greatest prompt tokens.")
    min_output_tokens: int | None = Field(default=None, ge=1, description="Least output tokens.")
    max_output_tokens: int | None = Field(default=None, ge=1, description="Greatest output tokens.")
    max_total_tokens: int | None = Field(
        default=None, ge=2, description="Greatest prompt plus output; cutting takes from the prompt's end."
    )
    outside: Literal["cut", "drop"] = Field(default="cut", description="What happens to a request outside.")


class Bootstrap(TraitBase):
    """Make a trace of any length from one: windows drawn with replacement and laid end to end."""

    window_s: float = Field(default=60.0, gt=0, description="Length of a window, seconds; keeps what is correlated.")
    count: int | None = Field(default=None, ge=1, description="Requests to produce.")
    duration_s: float | None = Field(default=None, gt=0, description="Length to produce, seconds.")

    @model_validator(mode="after")
    def _one_end(self) -> Self:
        if (self.count is None) == (self.duration_s is None):
            raise ValueError("bootstrap takes either count or duration_s")
        return self


class OpenLoop(TraitBase):
    """What workloads share whose requests do not wait for one another."""

    max_concurrency: int | None = Field(
        default=None,
        ge=1,
        description="The client never has more requests in flight; later ones are sent when earlier ones end.",
    )
    reaction_ms: float = Field(
        default=0.0, ge=0, description="Time a client at its limit takes from an end to the next send, ms."
    )


class TraceWorkload(OpenLoop):
    """Replay of a recorded trace."""

    kind: Literal["trace"] = "trace"
    format: TraceFormat = Field(default="auto", description="Format of the file.")
    path: InputFile = Field(description="The file; gzip and zstd are told by content.")
    time_scale: float = Field(default=1.0, gt=0, description="Multiplies gaps: 0.1 is ten times the rate.")
    request_rate: float | None = Field(
        default=None, gt=0, description="Scale gaps so that the mean rate is this, requests per second; shape kept."
    )
    first: int | None = Field(default=None, ge=1, description="Take this many rows.")
    start_s: float = Field(default=0.0, ge=0, description="Skip what arrives earlier, seconds of the trace.")
    end_s: float | None = Field(default=None, gt=0, description="Stop at this time, seconds of the trace.")
    clip: Clip | None = Field(default=None, description="Bounds on lengths.")
    arrivals: Arrivals | None = Field(
        default=None, description="Replace the trace's times; required for files without times."
    )
    bootstrap: Bootstrap | None = Field(default=None, description="Resample the trace to another length.")
    strict: bool = Field(
        default=False, description="Refuse unsorted times and rows that would be skipped, instead of noticing them."
    )
    zero_output: Literal["auto", "skip", "one", "refuse"] = Field(
        default="auto",
        description="Rows without output tokens: skip, take as 1, refuse; auto: skip in BurstGPT, else refuse.",
    )
    block_tokens: int | None = Field(
        default=None, ge=1, description="Tokens per prefix hash; absent: the format's (Mooncake 512, Bailian 16)."
    )
    timestamp_unit_s: float | None = Field(
        default=None,
        gt=0,
        description="Seconds per unit of timestamp (timed_trace: 0.001 for ms); absent: the format's.",
    )
    labels: dict[str, str] = Field(
        default_factory=dict,
        description="Names of the file's fields where they differ: timestamp, input_length, output_length, hash_ids.",
    )
    prefixes: bool = Field(default=True, description="Whether prefix hashes of the trace become shared prompt content.")
    traits: Traits = Field(default_factory=Traits, description="What the requests carry besides.")

    @model_validator(mode="after")
    def _one_rate(self) -> Self:
        if self.request_rate is not None and self.time_scale != 1.0:
            raise ValueError("give time_scale or request_rate, not both")
        if self.end_s is not None and self.end_s <= self.start_s:
            raise ValueError("end_s must be greater than start_s")
        return self


class Ended(TraitBase):
    """How a drawn workload ends: after a number of requests, or at a time, whichever comes first."""

    count: int | None = Field(default=None, ge=1, description="Requests (sessions) to produce.")
    duration_s: float | None = Field(
        default=None, gt=0, description="No arrival (no session start) at or after this time, seconds."
    )

    @model_validator(mode="after")
    def _some_end(self) -> Self:
        if self.count is None and self.duration_s is None:
            raise ValueError("give count or duration_s (or both)")
        return self


class SyntheticWorkload(OpenLoop, Ended):
    """Requests drawn from an arrival process and length distributions."""

    kind: Literal["synthetic"]
    arrivals: Arrivals = Field(description="When requests arrive.")
    lengths: Lengths = Field(description="Prompt and output tokens.")
    clip: Clip | None = Field(default=None, description="Bounds on lengths.")
    traits: Traits = Field(default_factory=Traits, description="What the requests carry besides.")


class ClosedLoopWorkload(Ended):
    """N users, each sending a request, waiting for its end, thinking, sending the next."""

    kind: Literal["closed_loop"]
    users: int = Field(ge=1, description="Users, each with at most one request in flight.")
    lengths: Lengths = Field(description="Prompt and output tokens.")
    think_time_s: Distribution = Field(description="From the end of a request to the user's next one, seconds.")
    think_floor_ms: float = Field(
        default=1.0, gt=0, description="Shorter thoughts are lengthened to this: the simulation's lookahead, ms."
    )
    ramp_s: float = Field(default=0.0, ge=0, description="Users start evenly spread over this time, seconds.")
    traits: Traits = Field(default_factory=Traits, description="What the requests carry besides.")


class TurnTaking(TraitBase):
    """Turns that wait for one another and carry the context along."""

    turns: Distribution = Field(description="Turns of a session; rounded, at least 1.")
    think_time_s: Distribution = Field(description="From the end of a turn to the next one, seconds.")
    think_floor_ms: float = Field(
        default=1.0, gt=0, description="Shorter thoughts are lengthened to this: the simulation's lookahead, ms."
    )
    accumulate: bool = Field(default=True, description="Whether a turn's prompt holds all earlier turns.")
    max_context_tokens: int | None = Field(
        default=None, ge=2, description="A session ends before a later turn whose prompt plus output would exceed this."
    )


class SessionsWorkload(TurnTaking, Ended):
    """Conversations that start by an arrival process; ``count`` counts sessions."""

    kind: Literal["sessions"]
    arrivals: Arrivals = Field(description="When sessions start.")
    lengths: Lengths = Field(description="New prompt tokens and output tokens of each turn.")
    traits: Traits = Field(default_factory=Traits, description="What the requests carry besides.")


class AgentStep(TraitBase):
    """One model call of an agentic session."""

    name: str = Field(min_length=1, description="Name that later steps refer to.")
    after: tuple[str, ...] = Field(default=(), description="Steps that must have ended; none: starts the session.")
    wait_s: Distribution | None = Field(default=None, description="Tool time after the last of them, seconds.")
    lengths: Lengths = Field(description="New prompt tokens and output tokens.")
    context: Literal["none", "first", "all"] = Field(
        default="all",
        description="What the prompt carries: nothing, the first parent's context and output, or all outputs.",
    )
    repeat: Distribution | None = Field(
        default=None, description="Branches of this step that run side by side; rounded, at least 1. Absent: one."
    )
    probability: float = Field(default=1.0, gt=0, le=1, description="Probability that the step happens.")


class AgenticWorkload(Ended):
    """Sessions that are graphs of model calls: branches, joins, tool waits; ``count`` counts sessions."""

    kind: Literal["agentic"]
    arrivals: Arrivals = Field(description="When sessions start.")
    steps: tuple[AgentStep, ...] = Field(min_length=1, max_length=256, description="The calls, parents first.")
    think_floor_ms: float = Field(
        default=1.0, gt=0, description="Shorter waits are lengthened to this: the simulation's lookahead, ms."
    )
    max_branches: int = Field(default=16, ge=1, le=1024, description="Greatest number of branches of one step.")
    traits: Traits = Field(default_factory=Traits, description="What the requests carry besides.")

    @model_validator(mode="after")
    def _parents_first(self) -> Self:
        known: set[str] = set()
        for step in self.steps:
            for parent in step.after:
                if parent not in known:
                    raise ValueError(f"step '{step.name}' comes after '{parent}', which is not an earlier step")
            if step.name in known:
                raise ValueError(f"step '{step.name}' is given twice")
            known.add(step.name)
        if self.steps[0].probability < 1:
            raise ValueError("the first step must have probability 1")
        return self


class Conversation(TurnTaking):
    """What makes a client profile conversational."""

    probability: float = Field(default=1.0, ge=0, le=1, description="Share of this profile's arrivals that converse.")


class ClientProfile(TraitBase):
    """One kind of client."""

    name: str = Field(min_length=1, description="Name; also the tenant unless traits give one.")
    share: float = Field(default=1.0, gt=0, description="Relative share of the arrivals.")
    lengths: Lengths = Field(description="Prompt and output tokens (of each turn, when conversational).")
    conversation: Conversation | None = Field(default=None, description="Multi-turn behaviour; absent: none.")
    traits: Traits = Field(default_factory=Traits, description="What the requests carry besides.")


class ClientsWorkload(Ended):
    """One arrival process; each arrival belongs to a profile drawn by share."""

    kind: Literal["clients"]
    arrivals: Arrivals = Field(description="When any client's request or conversation starts.")
    profiles: tuple[ClientProfile, ...] = Field(min_length=1, description="The kinds of clients.")

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [profile.name for profile in self.profiles]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"profile '{name}' is given twice")
        return self


class MixWorkload(OpenLoop):
    """Several workloads at once: their requests are merged by arrival time."""

    kind: Literal["mix"]
    parts: tuple["WorkloadConfig", ...] = Field(min_length=1, description="The workloads; rates add.")
    first: int | None = Field(default=None, ge=1, description="Stop after this many requests (open-loop parts only).")


class Phase(TraitBase):
    """One phase."""

    duration_s: float = Field(gt=0, description="Length of the phase, seconds; arrivals beyond it are cut off.")
    workload: "WorkloadConfig" = Field(description="What arrives, times counted from the start of the phase.")


class PhasesWorkload(OpenLoop):
    """Open-loop workloads one after the other."""

    kind: Literal["phases"]
    phases: tuple[Phase, ...] = Field(min_length=1, description="The phases, in order.")
    repeat: int = Field(default=1, ge=1, description="How often the whole sequence runs.")


class ServegenWorkload(OpenLoop):
    """Requests generated from a ServeGen client folder: every client has its own rate, CV and lengths by window."""

    kind: Literal["servegen"]
    path: InputFile = Field(description="Folder or tar.gz with chunk-i-trace.csv and chunk-i-dataset.json.")
    clients: int | None = Field(default=None, ge=1, description="Take the clients with the most requests only.")
    start_s: float = Field(default=0.0, ge=0, description="Start within the recorded time, seconds.")
    duration_s: float = Field(gt=0, description="Length to generate, seconds.")
    request_rate: float | None = Field(
        default=None, gt=0, description="Scale all clients alike so that the mean rate is this, requests per second."
    )
    count: int | None = Field(default=None, ge=1, description="Stop after this many requests.")
    clip: Clip | None = Field(default=None, description="Bounds on lengths.")
    traits: Traits = Field(default_factory=Traits, description="What the requests carry besides.")


WorkloadConfig = Annotated[
    TraceWorkload
    | SyntheticWorkload
    | ClosedLoopWorkload
    | SessionsWorkload
    | AgenticWorkload
    | ClientsWorkload
    | MixWorkload
    | PhasesWorkload
    | ServegenWorkload,
    Field(discriminator="kind"),
]
"""Any workload, told apart by ``kind``."""

MixWorkload.model_rebuild()
Phase.model_rebuild()
PhasesWorkload.model_rebuild()
