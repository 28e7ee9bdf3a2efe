"""What a preference pair is before it trains, and the parameters by which pairs are made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..scoring.meta_actions import SHORT_TERM_S
from ..scoring.proposals import OFFSETS_M, SPEED_SHARES
from ..scoring.replans import FLOOR_MPS, RATES_PS
from ..store.rows import PairRow
from ..vocabulary import Float, PairSource, Role

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class PairConfig:
    """Sources and gates. Gates in the order in which they are asked."""

    human: bool = True
    human_onset: bool = True
    counterfactual: bool = True
    every_episode: bool = False  # Algorithm 1 at every state of a drive, not only before takeovers
    variant: Literal["safealign", "ours"] = "ours"  # of Algorithm 1 at every state: safealign, ours
    predicted: bool = False
    predicted_states: int = 4  # L of PPL
    predicted_step_s: float = 0.25
    frames: int = 2  # of the policy's input, for visibility
    adaptation_weight: float = 0.25
    min_valid_points: int = 5  # 2.5 s
    min_visible_px: int = 12
    min_ttc_s: float = 1.5  # of the chosen plan
    # A plan cannot undo the danger that it starts in, so the bound falls to this share of the time to collision now.
    inherited_ttc_share: float = 0.6
    min_score_gap: float = 0.1
    min_ade_m: float = 0.5
    still_m: float = 5.0
    duplicate_m: float = 5.0
    duplicate_s: float = 2.0
    speed_shares: tuple[float, ...] = SPEED_SHARES
    stops_mps2: tuple[float, ...] = (3.0, 6.5)  # re-plans that brake to a stand
    offsets_m: tuple[float, ...] = OFFSETS_M
    # Ways round what cannot be passed by stopping; dearer the farther, so that they are not chosen without need.
    detours_m: tuple[float, ...] = (2.0, -2.0, 3.5, -3.5)
    offset_price_per_m: float = 0.02
    risk_ttc_s: float = 2.0  # TTC_risk (SafeAlign 4.2): what comes nearer within 4 s is unsafe
    stage_rates_ps: tuple[float, ...] = RATES_PS  # accelerations of its re-plans, as shares of the speed
    stage_s: float = SHORT_TERM_S  # when its second stage begins
    stage_floor_mps: float = FLOOR_MPS  # least speed that they are shares of
    lateral: bool = True  # `ours`: re-plans beside the centre line too, where the lane allows


@dataclass(frozen=True, slots=True)
class PairCandidate:
    """A pair, admitted if `reject_reason` is empty.

    Attributes:
        chosen_m: (8, 2) ego frame at `tick`.
        chosen_mask: (8,) waypoints of it that count.
        rejected_m: (8, 2).
        score_chosen: PDMS.
        score_rejected: PDMS.
        critical_actor_id: Whom the rejected plan gets into conflict with; 0 for nobody.
        takeover_id: "" for a state that belongs to no takeover.
        details: Sub-scores, ADE, whether the rejected side is unsafe; of predicted pairs `ahead_s` and `ego`, too; of
            Algorithm 1's its label.
    """

    pair_id: str
    episode_id: str
    takeover_id: str
    tick: int
    source: PairSource
    role: Role
    case_id: str
    generation: str
    driver_id: str
    chosen_m: Float
    chosen_mask: Mask
    rejected_m: Float
    score_chosen: float
    score_rejected: float
    weight: float
    critical_actor_id: int
    segmenter_version: str
    reject_reason: str = ""
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def admitted(self) -> bool:
        """Whether it may train."""
        return not self.reject_reason

    @property
    def hardness(self) -> float:
        """See `hardness`."""
        return hardness(self.details)

    def to_row(self, round_number: int) -> PairRow:
        """The store's row."""
        return PairRow(
            pair_id=self.pair_id,
            episode_id=self.episode_id,
            takeover_id=self.takeover_id,
            tick=self.tick,
            source=self.source,
            admitted=self.admitted,
            reject_reason=self.reject_reason,
            round=round_number,
            role=self.role.value,
            case_id=self.case_id,
            generation=self.generation,
            driver_id=self.driver_id,
            chosen_m=[float(v) for v in self.chosen_m.ravel()],
            chosen_mask=[bool(v) for v in self.chosen_mask],
            rejected_m=[float(v) for v in self.rejected_m.ravel()],
            score_chosen=self.score_chosen,
            score_rejected=self.score_rejected,
            weight=self.weight,
            critical_actor_id=self.critical_actor_id,
            segmenter_version=self.segmenter_version,
            details=self.details,
        )


def hardness(details: Mapping[str, Any]) -> float:
    """Of a pair; lower is harder: close to the chosen plan, yet unsafe; then the others by distance (DriveDPO).

    Args:
        details: Of the pair, with `ade_m` and `rejected_unsafe`.
    """
    return float(details["ade_m"]) + (0.0 if details["rejected_unsafe"] else 1000.0)
