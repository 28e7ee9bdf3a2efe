"""What the study's arms learn from: takeovers of one source or style, swapped pairs, drives at random times."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from .collect.doses import Dose, doses, random_timed_jobs
from .collect.labels import label_episode, put_labels
from .collect.scripted_driver import STYLES
from .collect.training_data import Lessons, preference_pairs, recovery_samples
from .refine.arms import FULL, Arm
from .store import queries
from .store.database import Store
from .store.episodes import complete
from .store.learnt import sources
from .vocabulary import PairSource, PreferencePair

if TYPE_CHECKING:
    from .ablate import Choice
    from .loop import Loop

UNSEEN_STYLE = STYLES[-1]  # fixed beforehand: late and clumsy
DOSE_SHARE, ATTEMPTS = 0.95, 3  # of the driver's seconds that the control must reach; tries to reach them
RANDOM_TIMED = "random_timed"  # folder of the control's drives, a store of its own
DOSE_SEED = 14
LEAST_S = 1.0  # less is not worth another drive

TAKEOVER_TIMED = "takeover-timed (all stages)"
RANDOM = "random-timed"
REPLAY_ONLY = "replay only"
SFT_TERM = "DPO's SFT term only"
SEEN, UNSEEN = "last round: seen styles", "last round: unseen style"
ARMS = (
    Arm(TAKEOVER_TIMED, FULL, "every pair and recovery of the home"),
    Arm(
        RANDOM,
        FULL,
        "the same driver's seconds in the same scenes at random times: the dose-matched control",
        takeovers="random_timed",
    ),
    Arm(REPLAY_ONLY, ("sft",), "longer SFT on replay: more training, no takeovers", takeovers="none"),
    Arm(
        SFT_TERM,
        ("sft", "dpo"),
        "DPO's batches without its preference term",
        {"dpo": {"loss_type": ("sft",), "loss_weights": (1.0,)}},
    ),
    Arm("human-driven only", FULL, "recoveries and pairs whose chosen side was driven", takeovers="human"),
    Arm(
        "counterfactual only",
        FULL,
        "pairs whose chosen side was planned, no recoveries",
        takeovers="counterfactual",
    ),
    Arm(SEEN, FULL, "earlier rounds and the last one with the first two styles", takeovers="seen"),
    Arm(
        UNSEEN,
        FULL,
        f"earlier rounds with the first two styles, the last one with {UNSEEN_STYLE}",
        takeovers="unseen",
    ),
)
SWAPPED = Arm("swapped", ("dpo",), "chosen and rejected swapped by a coin for each pair", takeovers="swapped")


def choices(loop: Loop) -> dict[str, Choice]:
    """Lessons by the name that an arm gives, beside those of the ablation."""
    store = loop.store
    return {
        "human": lambda data, seed: human(store, data),
        "counterfactual": lambda data, seed: counterfactual(store, data),
        "seen": lambda data, seed: of_styles(store, data, unseen=False),
        "unseen": lambda data, seed: of_styles(store, data, unseen=True),
        "swapped": lambda data, seed: replace(data, samples=[], pairs=swapped(data.pairs, seed)),
        "random_timed": lambda data, seed: _random_timed(loop, data),
    }


def swapped(pairs: list[PreferencePair], seed: int) -> list[PreferencePair]:
    """Each pair as it is, or with its sides swapped, by a fair coin: what is left tells nothing of better and worse."""
    coins = np.random.default_rng([seed, 14]).random(len(pairs)) < 0.5
    return [
        replace(
            pair,
            chosen_m=pair.rejected_m,
            rejected_m=pair.chosen_m,
            score_chosen=pair.score_rejected,
            score_rejected=pair.score_chosen,
            reasoning_chosen=pair.reasoning_rejected,
            reasoning_rejected=pair.reasoning_chosen,
            analysis="",  # it speaks of the side that was rejected before
        )
        if coin
        else pair
        for pair, coin in zip(pairs, coins, strict=True)
    ]


def human(store: Store, data: Lessons) -> Lessons:
    """What was driven: recoveries, and pairs whose chosen side is the driver's."""
    pairs = [pair for pair in data.pairs if pair.source in (PairSource.HUMAN, PairSource.HUMAN_ONSET)]
    return replace(data, samples=recovery_samples(store, data.found, pairs), pairs=pairs)


def counterfactual(store: Store, data: Lessons) -> Lessons:
    """What was planned: counterfactual pairs and their corrections, nothing that a driver drove."""
    pairs = [pair for pair in data.pairs if pair.source is PairSource.COUNTERFACTUAL]
    nothing_driven = replace(data.found, recoveries=[])
    return replace(data, samples=recovery_samples(store, nothing_driven, pairs), pairs=pairs)


def of_styles(store: Store, data: Lessons, *, unseen: bool) -> Lessons:
    """Takeovers of two styles in the rounds before the last; in the last one as many drives, of these or of the third."""
    rows = store.query("SELECT episode_id, style FROM episodes WHERE driver_kind = 'scripted'")
    style = {row["episode_id"]: row["style"] for row in rows}
    rounds = {row["episode_id"]: row["round"] for row in data.found.admitted}
    drives = sorted(name for name in rounds if name in style)
    last = max((rounds[name] for name in drives), default=0)
    before = [name for name in drives if rounds[name] < last and style[name] != UNSEEN_STYLE]
    end = [
        [name for name in drives if rounds[name] == last and (style[name] == UNSEEN_STYLE) is other]
        for other in (False, True)
    ]
    kept = {*before, *end[unseen][: min(map(len, end))]}
    found = replace(data.found, recoveries=[r for r in data.found.recoveries if r["episode_id"] in kept])
    pairs = [pair for pair in data.pairs if pair.pair_id.split("/")[0] in kept]
    return replace(data, samples=recovery_samples(store, found, pairs), pairs=pairs)


@dataclass(frozen=True, slots=True)
class RandomDose:
    """What the control gave.

    Attributes:
        wanted_s: Driver's seconds of the home's takeovers.
        given_s: Driver's seconds of the control.
        drives: Of the control.
        pairs: Admitted pairs of the control.
    """

    wanted_s: float
    given_s: float
    drives: int
    pairs: int


def drive_random_timed(loop: Loop) -> RandomDose:
    """Drive and label what is missing of the control: each generation drives its own scenes, its driver by the clock."""
    wanted = doses(loop.store)
    store = Store(loop.home / "study" / RANDOM_TIMED)
    total_s = sum(dose.seconds for dose in wanted)
    short = wanted
    for attempt in range(ATTEMPTS):
        _drive(loop, store, short, attempt)
        given = _given(store)
        if sum(given.values()) >= DOSE_SHARE * total_s:
            break
        # A drive that ended before its driver's turn is driven again, for what is missing, at other times.
        missing = {d.episode_id: d.seconds - given.get((d.case_id, d.style), 0.0) for d in wanted}
        short = [
            replace(d, lengths_s=(missing[d.episode_id],)) for d in wanted if missing[d.episode_id] > LEAST_S
        ]
    pairs = len(queries.pairs(store, admitted=True))
    return RandomDose(total_s, sum(_given(store).values()), len(complete(store.episodes)), pairs)


def _drive(loop: Loop, store: Store, wanted: list[Dose], attempt: int) -> None:
    jobs = random_timed_jobs(wanted, DOSE_SEED, attempt, store.episodes)
    there = {path.name for path in complete(store.episodes)}
    left = [job for job in jobs if job.episode_id not in there]
    if not left:
        return
    loop.progress.stage(f"random-timed drives, attempt {attempt + 1}", len(jobs))
    loop.progress.advance(len(jobs) - len(left))
    with loop.rollouts() as fleet:
        for generation in sorted({job.generation for job in left}):
            fleet.run(
                [job for job in left if job.generation == generation],
                loop.champions.policy(int(generation)),
                on_result=lambda _: loop.progress.advance(),
            )
    store.recover()
    made = {path.name: path for path in complete(store.episodes)}
    ids = [job.episode_id for job in jobs if job.episode_id in made]
    rules = loop.config.segmenter, loop.config.pairs
    put_labels(store, ids, [label_episode(made[name], 1, *rules) for name in ids])


def _given(store: Store) -> dict[tuple[str, str], float]:
    """Driver's seconds by case and style."""
    return {(dose.case_id, dose.style): dose.seconds for dose in _merged(doses(store))}


def _merged(found: list[Dose]) -> list[Dose]:
    whole: dict[tuple[str, str], Dose] = {}
    for dose in found:
        key = dose.case_id, dose.style
        if key in whole:
            dose = replace(dose, lengths_s=(*whole[key].lengths_s, *dose.lengths_s))
        whole[key] = dose
    return list(whole.values())


def _random_timed(loop: Loop, data: Lessons) -> Lessons:
    """Takeovers of the control instead of the home's; the replay is the same."""
    drive_random_timed(loop)
    store = Store(loop.home / "study" / RANDOM_TIMED)
    found = sources(store)
    pairs = preference_pairs(store, found)
    return replace(data, samples=recovery_samples(store, found, pairs), pairs=pairs)
