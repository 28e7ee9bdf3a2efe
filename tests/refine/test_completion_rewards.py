from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from takeover.models.actions import ActionCodec
from takeover.refine.completion_rewards import UNPARSABLE, form_reward, reward_terms
from takeover.refine.config import GrpoConfig
from takeover.refine.group_scenes import GrpoRow, SceneKind
from takeover.refine.rewards import nearness

from .conftest import REASONING, STEPS, blocked_road, make_input

ALL = np.ones(8, np.bool_)
CODEC = ActionCodec()
CONFIG = GrpoConfig()


def along(distance_m: np.ndarray) -> np.ndarray:
    return np.stack((distance_m, np.zeros(8)), axis=1).astype(np.float32)


GO = along(8.0 * STEPS)
SLOW = along(8.0 * STEPS - 0.5 * STEPS**2)  # 1 m/s2 less: 4 m/s at the end


def row(kind: SceneKind, pos: np.ndarray = SLOW, neg: np.ndarray | None = GO, asked: bool = False) -> GrpoRow:
    scene_input = make_input(1, 8.0, np.random.default_rng(0))
    return GrpoRow(scene_input, "", pos, neg, ALL, None, kind, asked=asked)


def said(plan: np.ndarray, reasoning: str = "") -> str:
    return reasoning + CODEC.text(CODEC.encode(plan, 8.0).actions)


def test_nearness_ends_at_its_radius() -> None:
    plans = np.stack((GO, GO + np.float32([0.0, 0.5]), GO + np.float32([3.0, 4.0])))
    # Mean distances 0, 0.5 and 5 m, radius 2 m.
    assert nearness(plans, GO, ALL, 2.0).tolist() == pytest.approx([1.0, 0.75, 0.0])
    far, farther = nearness(np.stack((GO + 10, GO + 1000)), GO, ALL, 2.0)
    assert far == farther == 0.0  # no repulsion without an end
    half = np.array([True] * 4 + [False] * 4)
    bent = GO.copy()
    bent[4:] += 50.0
    assert nearness(bent[None], GO, half, 2.0)[0] == 1.0


@pytest.mark.parametrize(
    ("kind", "negative", "recovery"), [("positive", 0, 0), ("negative", 1, 0), ("recovery", 0, 1)]
)
def test_the_terms_are_felt_in_their_own_scenes_alone(
    kind: SceneKind, negative: float, recovery: float
) -> None:
    text = said(GO)
    driven = CODEC.decode(CODEC.encode(GO, 8.0).actions, 8.0)
    terms = reward_terms(row(kind, pos=driven, neg=driven), [text], CODEC, CONFIG)
    assert terms.negative.tolist() == pytest.approx([negative])
    assert terms.recovery.tolist() == pytest.approx([recovery])
    wanted = terms.quality[0] + 0.1 * 1.0 - 0.2 * negative + 0.2 * recovery
    assert terms.total(CONFIG)[0] == pytest.approx(wanted)


def test_a_negatives_own_progress_is_no_yardstick() -> None:
    """The trajectory term of eq. 11 stays as it is whatever the negative was (SpanVLA 3.5.1)."""
    config = CONFIG.model_copy(update={"variant": "published"})
    scene = blocked_road()
    found = []
    for neg in (GO, along(2.0 * STEPS)):
        scene_input = make_input(1, 8.0, np.random.default_rng(0))
        here = GrpoRow(scene_input, "", SLOW, neg, ALL, scene, "negative")
        terms = reward_terms(here, [said(SLOW)], CODEC, config)
        plan = terms.plans[0]
        assert plan is not None
        off, apart = (float(np.linalg.norm(a - neg)) for a in (plan, SLOW))
        preference = min(off / apart, 1.5) / 1.5
        goal = math.exp(-float(np.linalg.norm(plan[-1] - SLOW[-1])) / 3.0)
        found.append((float(terms.quality[0]) - 0.3 * preference - 0.2 * goal) / 0.5)
    assert found[0] == pytest.approx(found[1], abs=1e-5)


def test_a_text_without_a_plan() -> None:
    terms = reward_terms(row("negative"), ["no plan", said(GO)], CODEC, CONFIG)
    assert terms.quality[0] == UNPARSABLE
    assert terms.plans[0] is None
    assert terms.negative[0] == 0.0
    assert terms.form.tolist() == [0.0, 1.0]


@pytest.mark.parametrize("text", ["", "go", "<a1><a2>", "<a9999>" * 8, "{}" + "<a1>" * 8])
def test_any_text_gives_terms(text: str) -> None:
    terms = reward_terms(row("positive", neg=None), [text], CODEC, CONFIG)
    assert terms.plans == [None]
    assert terms.quality.tolist() == [UNPARSABLE]


def test_form_is_half_words_half_plan() -> None:
    tokens = "<a1>" * 8
    n = len(CODEC)
    assert form_reward(tokens, False, n) == 1.0
    assert form_reward(tokens, True, n) == 0.5  # asked to reason, and did not
    assert form_reward(REASONING + tokens, True, n) == 1.0
    assert form_reward(REASONING + tokens, False, n) == 0.5  # words nobody asked for
    assert form_reward(REASONING, True, n) == 0.5
    assert form_reward(REASONING + "<a1>" * 7, True, n) == 0.5
    assert form_reward("well, " + tokens, False, n) == 0.5
    assert form_reward("well", False, n) == 0.0


def test_agreement_counts_the_words_that_the_plan_does() -> None:
    def reasoned(*meta: list[str]) -> str:
        return json.dumps({**json.loads(REASONING), "meta_actions": list(meta)})

    # 8 m/s held: maintain keep, twice.
    texts = [
        said(GO, reasoned(["maintain", "keep"], ["maintain", "keep"])),
        said(GO, reasoned(["accelerate", "keep"], ["maintain", "change_left"])),
        said(GO),
    ]
    asked = reward_terms(row("positive", neg=None, asked=True), texts, CODEC, CONFIG)
    assert asked.agreement.tolist() == [1.0, 0.5, 0.0]
    assert asked.total(CONFIG)[0] - asked.total(CONFIG)[1] == pytest.approx(0.1 * 0.5)
    unasked = reward_terms(row("positive", neg=None), texts[:1], CODEC, CONFIG)
    assert unasked.agreement.tolist() == [0.0]


def test_delta_and_better_are_judged_on_eq_11_alone() -> None:
    """The other terms change the total and leave `quality` as it is."""
    loud = CONFIG.model_copy(update={"format_weight": 5.0, "recovery_weight": 5.0})
    plain, weighed = (reward_terms(row("recovery"), [said(SLOW)], CODEC, c) for c in (CONFIG, loud))
    assert np.array_equal(plain.quality, weighed.quality)
    assert weighed.total(loud)[0] > plain.total(CONFIG)[0] + 4.0
    assert torch.tensor(plain.quality).max() <= 1.0
