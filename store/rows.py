"""Rows of the index that no episode holds: labels made by the segmenter, and the loop's own history.

A row's fields are the columns of its table; `TABLE` and `KEY` say where it goes and what it replaces.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, ClassVar, Protocol

from ..vocabulary import PairSource, Phase, Reason
from .sealing import plain


class Row(Protocol):
    """What the journal needs to know of a row."""

    TABLE: ClassVar[str]
    KEY: ClassVar[tuple[str, ...]]
    __dataclass_fields__: ClassVar[dict[str, Any]]


def now_utc() -> str:
    """Wall clock for annotations; nothing is ordered by it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def as_json(row: Row) -> dict[str, Any]:
    """Plain JSON values of a row."""
    data: dict[str, Any] = plain(asdict(row))
    return data


@dataclass(frozen=True, slots=True)
class TakeoverRow:
    """One takeover; ticks are those of its episode.

    Attributes:
        takeover_id: `<episode_id>/<number>`.
        chain_id: Id of the first takeover of the chain that this one belongs to by relapse.
        onset_tick: First tick executed by the driver.
        hazard_tick: From here on the hazard lasted, or the default before the onset.
        hazard: ttc, off_road, wrong_lane, stuck; "" when none was measured.
        stable_tick: First tick after the recovery.
        handback_tick: First tick that the driver no longer executes, or the episode's end.
        trains: False for reasons that never train, faults, and roles that are held out.
        relapse: It came within the probation of the one before.
        weight: Of its segments; doubled by a relapse.
        min_ttc_before_s: Least TTC in the negative segment; None for none below infinity.
        min_ttc_after_s: Least TTC from the onset to the hand-back; None for none below infinity.
        verdict: What the driver said of it: good, mistake, discard, or "".
    """

    TABLE: ClassVar[str] = "takeovers"
    KEY: ClassVar[tuple[str, ...]] = ("takeover_id",)
    takeover_id: str
    chain_id: str
    episode_id: str
    onset_tick: int
    hazard_tick: int
    hazard: str
    stable_tick: int
    handback_tick: int
    reason: Reason
    trains: bool
    relapse: bool
    weight: float
    min_ttc_before_s: float | None
    min_ttc_after_s: float | None
    segmenter_version: str
    verdict: str = ""


@dataclass(frozen=True, slots=True)
class AnnotationRow:
    """What a driver says of a sealed episode; a later one of a takeover stands above an earlier one.

    Attributes:
        annotation_id: uuid.
        episode_id: The episode.
        onset_tick: Names the takeover; None for the whole episode.
        verdict: good, mistake, discard, or "".
        reason: A `Reason`, or "".
        note: Free text, or "".
    """

    TABLE: ClassVar[str] = "annotations"
    KEY: ClassVar[tuple[str, ...]] = ("annotation_id",)
    annotation_id: str
    episode_id: str
    onset_tick: int | None = None
    verdict: str = ""
    reason: str = ""
    note: str = ""
    created_utc: str = field(default_factory=now_utc)


@dataclass(frozen=True, slots=True)
class SegmentRow:
    """A stretch [start_tick, end_tick) of one phase. `takeover_id` is "" for stretches of no takeover."""

    TABLE: ClassVar[str] = "segments"
    KEY: ClassVar[tuple[str, ...]] = ("segment_id",)
    segment_id: str
    episode_id: str
    takeover_id: str
    phase: Phase
    start_tick: int
    end_tick: int
    executed_by: str
    reason: str
    train_mask: bool
    weight: float
    segmenter_version: str


@dataclass(frozen=True, slots=True)
class PairRow:
    """A pair candidate: admitted, or rejected with its reason. Plans are (8, 2), flattened, metres."""

    TABLE: ClassVar[str] = "pairs"
    KEY: ClassVar[tuple[str, ...]] = ("pair_id",)
    pair_id: str
    episode_id: str
    takeover_id: str
    tick: int
    source: PairSource
    admitted: bool
    reject_reason: str
    round: int
    role: str
    case_id: str
    generation: str
    driver_id: str
    chosen_m: list[float]
    chosen_mask: list[bool]
    rejected_m: list[float]
    score_chosen: float | None
    score_rejected: float | None
    weight: float
    critical_actor_id: int
    segmenter_version: str
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SafetyRow:
    """Algorithm 1's label of one state (SafeAlign eq. 1): was what was driven from here safe?

    Attributes:
        label_id: `<episode_id>/<tick>`.
        label: pos or neg.
        cause: Of neg: ttc, or off_road (`ours` alone); "" of pos.
        min_ttc_s: Least time to collision of the observed motion in the next 4 s; None for none below infinity.
        observed: What counts as observed: executed by the policy, its issued plan, or another's driving.
        score: PDMS of it.
        trains: pos: it may be imitated; neg: it gave an admitted pair.
        reason: Why it does not train; "" if it does.
        variant: Of Algorithm 1.
    """

    TABLE: ClassVar[str] = "safety_labels"
    KEY: ClassVar[tuple[str, ...]] = ("label_id",)
    label_id: str
    episode_id: str
    tick: int
    label: str
    cause: str
    min_ttc_s: float | None
    observed: str
    score: float
    trains: bool
    reason: str
    role: str
    case_id: str
    generation: str
    variant: str
    segmenter_version: str


@dataclass(frozen=True, slots=True)
class RoundRow:
    """How a round ended. Generations are ids as text; `outcome` is promote, reject or inconclusive."""

    TABLE: ClassVar[str] = "rounds"
    KEY: ClassVar[tuple[str, ...]] = ("run_id", "round")
    run_id: str
    round: int
    champion: str
    challenger: str
    outcome: str
    seconds: float
    details: dict[str, Any] = field(default_factory=dict)
    created_utc: str = field(default_factory=now_utc)


@dataclass(frozen=True, slots=True)
class StepRow:
    """A finished step of the resumable loop."""

    TABLE: ClassVar[str] = "steps"
    KEY: ClassVar[tuple[str, ...]] = ("run_id", "round", "name", "key")
    run_id: str
    round: int
    name: str
    key: str
    payload: dict[str, Any] = field(default_factory=dict)
    created_utc: str = field(default_factory=now_utc)


@dataclass(frozen=True, slots=True)
class TrainingRow:
    """One thing that a round learnt from, as it was when it was read.

    Attributes:
        run_id: With `round` it names the generation that is made.
        kind: pair, failed (the unsafe side of a refused pair), recovery (a driver's segment), replay (a drive) or given
            (the user's own checkpoint or QA file).
        item_id: Of the pair, segment or drive; the path of what was given.
        episode_id: The drive; "" for what was given.
        takeover_id: "" for none.
        source: Of a pair its `PairSource`; of a failed plan policy; of a recovery human; of a replay expert, grounding,
            uneventful or imitable; of what was given model or qa.
        weight: Of its label; the stages' own shares come on top, and what the probe holds out has none.
        content_sha256: Of the sealed drive, or of the file given; "" when there is none.
    """

    TABLE: ClassVar[str] = "training_data"
    KEY: ClassVar[tuple[str, ...]] = ("run_id", "round", "kind", "item_id")
    run_id: str
    round: int
    kind: str
    item_id: str
    episode_id: str
    takeover_id: str
    source: str
    weight: float
    content_sha256: str


@dataclass(frozen=True, slots=True)
class GenerationRow:
    """A model version: `version` is the registry's, `sha256` of its weights, `gate` its gate's outcome."""

    TABLE: ClassVar[str] = "generations"
    KEY: ClassVar[tuple[str, ...]] = ("generation",)
    generation: int
    version: str
    parent: int | None
    run_id: str
    round: int
    path: str
    sha256: str
    metrics: dict[str, Any] = field(default_factory=dict)
    gate: str = ""
    created_utc: str = field(default_factory=now_utc)


@dataclass(frozen=True, slots=True)
class EvaluationRow:
    """One closed-loop case, cached by the hash of what drove it and its `PolicyConfig.setting` (a baseline names itself)."""

    TABLE: ClassVar[str] = "evaluations"
    KEY: ClassVar[tuple[str, ...]] = ("weights_sha256", "suite", "case_id")
    weights_sha256: str
    suite: str
    case_id: str
    scenario: str
    seed: int
    decoy: bool
    generation: int | None
    success: bool
    ds: float
    rc: float
    ended: str
    infractions: list[Any] = field(default_factory=list)
    takeovers: int = 0
    phantom_brakes: int = 0
    standstill_s: float = 0.0
    driven_m: float = 0.0
    duration_s: float = 0.0
    details: dict[str, Any] = field(default_factory=dict)
    created_utc: str = field(default_factory=now_utc)


@dataclass(frozen=True, slots=True)
class TakeoverCaseRow:
    """A takeover as a case that can be driven again, and what came of trying.

    Attributes:
        generation: The one that failed; its weights and setting are `weights_sha256`, as of an `EvaluationRow`.
        start_tick: From here on it is driven; before, the recorded controls are.
        lead_s: From there to the hazard.
        tries: Of the failed generation, and as many of the expert.
        failed: Tries in which the generation failed again.
        expert_passed: Tries that the expert passed.
        deviation_m: Largest distance of ego and other road users from the recorded state at `start_tick`, over all tries;
            None when one of them never got there. `deviation_mps` and `deviation_deg` likewise.
        admitted: Same state, fails again, and can be passed.
        reason: Why it is not admitted; "" if it is.
        held_out: Never trained on where `gate.takeover_cases` asks for it.
    """

    TABLE: ClassVar[str] = "takeover_cases"
    KEY: ClassVar[tuple[str, ...]] = ("takeover_id",)
    takeover_id: str
    episode_id: str
    case_id: str
    scenario: str
    seed: int
    decoy: bool
    generation: int
    weights_sha256: str
    start_tick: int
    lead_s: float
    tries: int
    failed: int
    expert_passed: int
    deviation_m: float | None
    deviation_mps: float | None
    deviation_deg: float | None
    admitted: bool
    reason: str
    held_out: bool
    created_utc: str = field(default_factory=now_utc)


@dataclass(frozen=True, slots=True)
class PromotionRow:
    """A gate's decision or a moved alias, with its evidence.

    `outcome` is promote, reject, inconclusive or rollback; `external` ones were made outside our commands.
    """

    TABLE: ClassVar[str] = "promotions"
    KEY: ClassVar[tuple[str, ...]] = ("promotion_id",)
    promotion_id: str
    from_generation: int | None
    to_generation: int | None
    outcome: str
    external: bool
    evidence: dict[str, Any] = field(default_factory=dict)
    run_id: str = ""
    round: int = 0
    created_utc: str = field(default_factory=now_utc)
