"""What if another generation had been at the wheel? A takeover's scene driven again, beside what happened then."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..store import history
from ..store.database import Store
from ..store.episodes import EpisodeReader
from ..store.forget import WHATIF
from ..store.records import PlanRow
from ..vocabulary import TICK_S
from .takeover_cases import TakeoverCases, TakeoverScene
from .whatif_picture import View, draw


@dataclass(frozen=True, slots=True)
class WhatIf:
    """What became of a takeover's scene with another generation.

    Attributes:
        takeover_id: The takeover.
        case_id: Its case.
        failed_generation: Who drove then.
        generation: Who drove now.
        certified: Whether the takeover is an admitted case; None if it was not tried.
        start_s: When the generation got the car.
        lead_s: From there to the hazard.
        onset_s: When the driver took over then.
        deviation_m: Largest distance from the recorded state at the start; `deviation_mps` and `deviation_deg` likewise.
        same_state: Whether all of them are small enough for the drives to be compared.
        success: Route complete without an infraction.
        end: How the drive ended.
        ds: Its driving score.
        infractions: Their kinds, in order.
        end_s: When it ended.
        then_success: Whether the drive of then, with its driver, succeeded.
        shown_s: Time of the plans in the picture.
        picture: PNG.
    """

    takeover_id: str
    case_id: str
    failed_generation: str
    generation: int
    certified: bool | None
    start_s: float
    lead_s: float
    onset_s: float
    deviation_m: float
    deviation_mps: float
    deviation_deg: float
    same_state: bool
    success: bool
    end: str
    ds: float
    infractions: tuple[str, ...]
    end_s: float
    then_success: bool
    shown_s: float
    picture: str

    def text(self) -> str:
        """For people."""
        known = {True: "a certified case", False: "not admitted as a case", None: "not tried as a case yet"}
        same = "as then" if self.same_state else "NOT as then, so the drives cannot be compared"
        failed = f" ({', '.join(self.infractions)})" if self.infractions else ""
        return "\n".join(
            (
                f"{self.takeover_id} in {self.case_id}, {known[self.certified]}",
                f"then: generation {self.failed_generation} drove, and the driver took over after {self.onset_s:.1f} s",
                f"now: generation {self.generation} got the car after {self.start_s:.1f} s, {self.lead_s:.1f} s before the "
                f"hazard; the state was {same} (at most {self.deviation_m:.2f} m, {self.deviation_mps:.2f} m/s, "
                f"{self.deviation_deg:.2f} degrees off)",
                f"it {'passes' if self.success else 'fails'}: {self.end}{failed}, driving score {self.ds:.0f}, after "
                f"{self.end_s:.1f} s",
                f"side by side at {self.shown_s:.1f} s: {self.picture}",
            )
        )


def what_if(
    store: Store, cases: TakeoverCases, takeover: dict[str, Any], generation: int, picture: Path | None = None
) -> WhatIf:
    """Drive a takeover's scene again with a generation, and draw old plan, new plan and the driver's path.

    Args:
        store: The store.
        cases: Gives the simulator and the policy.
        takeover: Of `provenance.takeover_named`.
        generation: Who drives now.
        picture: Where to write the PNG; None for a name of its own in the home's `whatif` folder.

    Raises:
        UsageError: There is no such generation, or no policy had planned before the takeover.
    """
    history.generation(store, generation)
    name = takeover["takeover_id"]
    then = EpisodeReader(store.episodes / takeover["episode_id"])
    scene = TakeoverScene.of(then, takeover["hazard_tick"])
    old = _last_plan(then, takeover["onset_tick"])
    folder = store.home / WHATIF
    folder.mkdir(parents=True, exist_ok=True)
    picture = picture or folder / f"{name.replace('/', '.')}.generation-{generation}.png"
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        result = cases.redrive(scene, generation, Path(scratch) / "episodes")
        assert result.path is not None
        now = EpisodeReader(result.path)
        new = _last_plan(now, min(old.plan.tick, _last_tick(now)))
        draw(
            picture,
            f"{takeover['case_id']}, takeover after {TICK_S * takeover['onset_tick']:.1f} s ({takeover['reason']})",
            [
                View(
                    f"then: generation {takeover['generation']} planned", then, old.plan.tick, old, "policy"
                ),
                View(
                    f"now: generation {generation} plans, and {'passes' if result.outcome.success else 'fails'}",
                    now,
                    new.plan.tick,
                    new,
                    "policy",
                ),
                View("then: the driver drove", then, takeover["onset_tick"], None, "driver"),
            ],
            store.home,
            then.ego(old.plan.tick),
        )
    off, outcome = scene.deviation(result), result.outcome
    tried = store.query("SELECT admitted FROM takeover_cases WHERE takeover_id = ?", [name])
    return WhatIf(
        takeover_id=name,
        case_id=takeover["case_id"],
        failed_generation=takeover["generation"],
        generation=generation,
        certified=bool(tried[0]["admitted"]) if tried else None,
        start_s=TICK_S * scene.rerun.start_tick,
        lead_s=scene.lead_s,
        onset_s=TICK_S * takeover["onset_tick"],
        deviation_m=off.distance_m,
        deviation_mps=off.speed_mps,
        deviation_deg=off.angle_deg,
        same_state=off.small,
        success=outcome.success,
        end=outcome.end,
        ds=outcome.ds,
        infractions=tuple(one.kind for one in outcome.infractions),
        end_s=outcome.duration_s,
        then_success=then.outcome.success,
        shown_s=TICK_S * new.plan.tick,
        picture=str(picture),
    )


def _last_tick(reader: EpisodeReader) -> int:
    return int(reader.ticks["tick"][-1])


def _last_plan(reader: EpisodeReader, tick: int) -> PlanRow:
    """The last plan that was issued, not in shadow, up to a tick."""
    found = [row for row in reader.plans if not row.plan.shadow and row.plan.tick <= tick]
    if not found:
        raise UsageError(f"no policy had planned before tick {tick}", fix="choose another takeover")
    return found[-1]
