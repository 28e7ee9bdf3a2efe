"""Each rule of the segmenter on hand-made drives; every number is worked out by hand (20 ticks a second)."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from takeover.collect.driver_words import DriverWords
from takeover.collect.segmenter import (
    SEGMENTER_VERSION,
    Segmentation,
    SegmenterConfig,
    Trace,
    segment,
    segment_trace,
)
from takeover.store.episodes import EpisodeMeta, EpisodeReader, EpisodeWriter, TickRow
from takeover.vocabulary import Case, Control, EgoState, Outcome, Phase, Reason, Role

INF = float("inf")


def trace(
    ticks: int, driver: list[tuple[int, int]], reason: Reason = Reason.COLLISION_RISK, **changes: Any
) -> Trace:
    """A calm drive in the lane; the driver executes the given half-open stretches."""
    executed_by = np.full(ticks, "policy", dtype="<U9")
    for start, end in driver:
        executed_by[start:end] = "driver"
    zeros = np.zeros(ticks)
    values: dict[str, Any] = {
        "episode_id": "e",
        "executed_by": executed_by,
        "ttc_s": np.full(ticks, INF),
        "speed_mps": np.full(ticks, 8.0),
        "accel_mps2": zeros,
        "lateral_accel_mps2": zeros,
        "yaw_rate_radps": zeros,
        "steer_rad": zeros,
        "lateral_error_m": zeros,
        "off_road": np.zeros(ticks, bool),
        "red_light": np.zeros(ticks, bool),
        "faulty": np.zeros(ticks, bool),
        "words": DriverWords(reasons=dict.fromkeys((start for start, _ in driver), reason)),
    }
    return Trace(**{**values, **changes})


def filled(ticks: int, start: int, end: int, value: float, rest: float = 0.0) -> np.ndarray:
    column = np.full(ticks, rest)
    column[start:end] = value
    return column


def spans(found: Segmentation) -> list[tuple[str, int, int]]:
    return [(s.phase.value, s.start_tick, s.end_tick) for s in found.segments]


def test_a_calm_takeover_by_the_defaults() -> None:
    found = segment_trace(trace(400, [(200, 300)]))
    # no hazard: NEGATIVE 2 s before the onset; settled at once: adaptation 0.3 s; calm at once: recovery 2 s
    assert spans(found) == [
        ("autonomous", 0, 80),
        ("observe", 80, 160),
        ("negative", 160, 200),
        ("adaptation", 200, 206),
        ("recovery", 206, 246),
        ("driver", 246, 300),
        ("probation", 300, 400),
    ]
    takeover = found.takeovers[0]
    assert (takeover.onset_tick, takeover.hazard_tick, takeover.hazard) == (200, 160, "")
    assert (takeover.stable_tick, takeover.handback_tick) == (246, 300)
    assert (takeover.takeover_id, takeover.chain_id, takeover.relapse) == ("e/0", "e/0", False)
    assert takeover.trains
    assert {s.phase: (s.train_mask, s.weight) for s in found.segments} == {
        Phase.AUTONOMOUS: (False, 0.0),
        Phase.OBSERVE: (False, 0.0),
        Phase.NEGATIVE: (True, 1.0),
        Phase.ADAPTATION: (False, 0.25),
        Phase.RECOVERY: (True, 1.0),
        Phase.DRIVER: (True, 1.0),
        Phase.PROBATION: (False, 0.0),
    }
    assert {s.executed_by for s in found.segments if s.phase in (Phase.ADAPTATION, Phase.RECOVERY)} == {
        "driver"
    }
    assert found.of(takeover, Phase.NEGATIVE) == found.at(199)
    assert found.at(200).phase is Phase.ADAPTATION


def test_segments_cover_every_tick_once() -> None:
    found = segment_trace(trace(900, [(100, 180), (230, 300), (700, 900)]))
    edges = [(s.start_tick, s.end_tick) for s in found.segments]
    assert edges[0][0] == 0
    assert edges[-1][1] == 900
    assert all(before[1] == after[0] for before, after in pairwise(edges))
    assert len({s.segment_id for s in found.segments}) == len(found.segments)


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("ttc", {"ttc_s": filled(400, 140, 215, 1.9, INF)}),
        ("off_road", {"off_road": filled(400, 140, 215, 1).astype(bool)}),
        ("wrong_lane", {"lateral_error_m": filled(400, 140, 215, -2.1)}),
    ],
)
def test_hazard_onset_is_the_first_tick_from_which_it_lasts(name: str, column: dict[str, Any]) -> None:
    takeover = segment_trace(trace(400, [(200, 300)], **column)).takeovers[0]
    assert (takeover.hazard_tick, takeover.hazard) == (140, name)
    found = segment_trace(trace(400, [(200, 300)], **column))
    assert ("negative", 140, 200) in spans(found)
    assert ("observe", 80, 140) in spans(found)


def test_a_hazard_that_went_away_does_not_count() -> None:
    ttc = filled(400, 130, 170, 1.0, INF)
    takeover = segment_trace(trace(400, [(200, 300)], ttc_s=ttc)).takeovers[0]
    assert (takeover.hazard_tick, takeover.hazard) == (160, "")
    assert takeover.min_ttc_before_s == 1.0  # still in the negative segment [160, 200)


def test_a_short_hazard_leaves_the_negative_at_two_seconds() -> None:
    found = segment_trace(trace(400, [(200, 300)], ttc_s=filled(400, 185, 210, 1.5, INF)))
    assert (found.takeovers[0].hazard_tick, found.takeovers[0].hazard) == (185, "ttc")
    assert ("negative", 160, 200) in spans(found)


def test_the_walk_back_ends_after_six_seconds() -> None:
    found = segment_trace(trace(400, [(200, 300)], ttc_s=filled(400, 0, 210, 1.5, INF)))
    assert found.takeovers[0].hazard_tick == 80
    assert ("negative", 80, 200) in spans(found)
    assert "observe" not in {name for name, _, _ in spans(found)}


def test_stuck_counts_after_ten_seconds_and_not_at_a_red_light() -> None:
    speed = filled(700, 300, 560, 0.0, 8.0)
    takeover = segment_trace(trace(700, [(550, 600)], speed_mps=speed)).takeovers[0]
    assert (takeover.hazard_tick, takeover.hazard) == (
        500,
        "stuck",
    )  # still since 300: more than 200 ticks at 500
    red = filled(700, 300, 560, 1).astype(bool)
    assert segment_trace(trace(700, [(550, 600)], speed_mps=speed, red_light=red)).takeovers[0].hazard == ""


def test_windows_are_clipped_at_the_ends_of_the_episode() -> None:
    found = segment_trace(trace(60, [(15, 60)]))
    assert spans(found) == [("negative", 0, 15), ("adaptation", 15, 21), ("recovery", 21, 60)]
    assert found.takeovers[0].handback_tick == 60


def test_a_driver_from_the_first_tick_has_no_negative() -> None:
    found = segment_trace(trace(100, [(0, 100)]))
    assert spans(found)[0] == ("adaptation", 0, 6)
    assert found.takeovers[0].hazard == ""


def test_adaptation_lasts_until_steering_and_jerk_settle() -> None:
    steer = np.zeros(400)
    steer[200:221] = np.linspace(0.0, 0.4, 21)  # 0.4 rad/s until tick 220, then steady
    steer[221:] = 0.4
    found = segment_trace(trace(400, [(200, 300)], steer_rad=steer))
    assert ("adaptation", 200, 220) in spans(found)
    # braking ramps at 12 m/s3 until tick 210, then holds
    accel = np.zeros(400)
    accel[200:211] = np.linspace(0.0, -6.0, 11)
    accel[211:] = -6.0
    found = segment_trace(trace(400, [(200, 300)], accel_mps2=accel))
    # over 0.2 s the jerk is at most 5 m/s3 when the window holds at most one tick of ramp: from tick 209
    assert ("adaptation", 200, 209) in spans(found)


def test_adaptation_that_never_settles_takes_its_longest() -> None:
    steer = np.where(np.arange(400) % 2 == 0, 0.1, -0.1)
    assert ("adaptation", 200, 230) in spans(segment_trace(trace(400, [(200, 300)], steer_rad=steer)))


def test_a_driver_who_holds_too_briefly_only_adapts() -> None:
    steer = np.where(np.arange(400) % 2 == 0, 0.1, -0.1)
    found = segment_trace(trace(400, [(200, 216)], steer_rad=steer))
    assert ("adaptation", 200, 216) in spans(found)  # the default of 1 s, clipped
    assert found.takeovers[0].stable_tick == 216
    assert not {"recovery", "driver"} & {name for name, _, _ in spans(found)}


@pytest.mark.parametrize(
    "column",
    [
        {"ttc_s": filled(500, 200, 240, 2.5, INF)},
        {"lateral_error_m": filled(500, 200, 240, 0.6)},
        {"yaw_rate_radps": filled(500, 200, 240, 1.0)},
        {"lateral_accel_mps2": filled(500, 200, 240, -5.0)},
    ],
)
def test_recovery_ends_when_stability_was_kept_for_two_seconds(column: dict[str, Any]) -> None:
    found = segment_trace(trace(500, [(200, 400)], **column))
    assert ("recovery", 206, 280) in spans(found)  # calm from 240 on, kept until 280
    assert ("driver", 280, 400) in spans(found)


def test_recovery_ends_at_the_hand_back_or_after_ten_seconds() -> None:
    never = np.full(700, 2.0)
    assert ("recovery", 206, 260) in spans(segment_trace(trace(700, [(200, 260)], ttc_s=never)))
    assert ("recovery", 206, 406) in spans(segment_trace(trace(700, [(200, 600)], ttc_s=never)))


def test_a_stop_of_the_worlds_own_does_not_end_a_takeover() -> None:
    """The cockpit hangs from tick 230 to 250: see `cockpit.world`. Only an event makes the second stretch another one."""
    hung = trace(500, [(200, 230), (250, 300)])
    hung.executed_by[230:250] = "safe_stop"
    found = segment_trace(hung)
    assert [(one.onset_tick, one.stable_tick, one.handback_tick) for one in found.takeovers] == [
        (200, 246, 300)
    ]
    assert spans(found)[2:-1] == [
        ("negative", 160, 200),
        ("adaptation", 200, 206),
        ("recovery", 206, 230),
        ("recovery", 230, 246),
        ("driver", 246, 250),
        ("driver", 250, 300),
    ]
    assert [found.at(tick).train_mask for tick in (229, 230, 249, 250)] == [True, False, False, True]
    assert found.takeovers[0].weight == 1.0  # no relapse
    again = replace(hung.words, channels={200: "brake", 250: "brake"})
    assert len(segment_trace(replace(hung, words=again)).takeovers) == 2


def test_a_relapse_joins_the_chain_and_doubles_its_weight() -> None:
    found = segment_trace(trace(900, [(200, 300), (350, 450), (800, 850)]))
    first, second, third = found.takeovers
    assert [t.chain_id for t in found.takeovers] == ["e/0", "e/0", "e/2"]
    assert [t.relapse for t in found.takeovers] == [False, True, False]
    assert [t.weight for t in found.takeovers] == [2.0, 2.0, 1.0]
    # the policy had the car for 50 ticks only: probation gives way to the second takeover's windows
    assert ("negative", 310, 350) in spans(found)
    assert ("observe", 300, 310) in spans(found)
    assert found.of(second, Phase.NEGATIVE).weight == 2.0  # type: ignore[union-attr]
    assert found.of(first, Phase.RECOVERY).weight == 2.0  # type: ignore[union-attr]
    assert found.of(third, Phase.RECOVERY).weight == 1.0  # type: ignore[union-attr]
    assert ("probation", 450, 660) in spans(found)  # 0.5 s of blending and 10 s


def test_relapse_at_the_edge_of_the_probation() -> None:
    inside = segment_trace(trace(900, [(200, 300), (510, 600)]))
    outside = segment_trace(trace(900, [(200, 300), (511, 600)]))
    assert [t.relapse for t in inside.takeovers] == [False, True]
    assert [t.relapse for t in outside.takeovers] == [False, False]


def test_the_weight_of_a_chain_is_bounded() -> None:
    found = segment_trace(trace(900, [(k, k + 40) for k in range(100, 700, 100)]))
    assert {t.weight for t in found.takeovers} == {4.0}


def test_a_relapse_of_less_than_two_seconds_has_a_short_negative() -> None:
    found = segment_trace(trace(500, [(200, 300), (320, 400)]))
    assert ("negative", 300, 320) in spans(found)


@pytest.mark.parametrize("reason", [Reason.WISH, Reason.SYSTEM_FAULT, Reason.TRAINING])
def test_some_reasons_never_train(reason: Reason) -> None:
    found = segment_trace(trace(400, [(200, 300)], reason))
    assert not found.takeovers[0].trains
    assert not any(s.train_mask or s.weight for s in found.segments)
    assert found.segments[2].reason == reason.value
    assert ("negative", 160, 200) in spans(found)


def test_a_takeover_without_a_reason_is_a_wish() -> None:
    found = segment_trace(replace(trace(400, [(200, 300)]), words=DriverWords()))
    assert found.takeovers[0].reason is Reason.WISH


def test_a_wish_in_the_probation_does_not_double() -> None:
    drive = trace(900, [(200, 300), (350, 450)])
    found = segment_trace(
        replace(drive, words=DriverWords(reasons={200: Reason.COLLISION_RISK, 350: Reason.WISH}))
    )
    assert [t.weight for t in found.takeovers] == [1.0, 0.0]


def test_faults_and_held_out_roles_never_train() -> None:
    faulty = segment_trace(trace(400, [(200, 300)], faulty=filled(400, 180, 181, 1).astype(bool)))
    held_out = segment_trace(trace(400, [(200, 300)], trains=False))
    for found in (faulty, held_out):
        assert not any(s.train_mask for s in found.segments)


def test_a_safe_stop_is_nobodys_negative() -> None:
    drive = trace(400, [(200, 300)])
    drive.executed_by[170:200] = "safe_stop"
    found = segment_trace(drive)
    assert spans(found)[:3] == [("autonomous", 0, 170), ("autonomous", 170, 200), ("adaptation", 200, 206)]
    assert [s.executed_by for s in found.segments[:2]] == ["policy", "safe_stop"]


def test_only_an_uneventful_success_is_replay() -> None:
    assert segment_trace(trace(100, [], uneventful=True)).segments[0].train_mask
    assert not segment_trace(trace(100, [])).segments[0].train_mask
    assert not segment_trace(trace(400, [(200, 300)], uneventful=True)).segments[0].train_mask
    assert segment_trace(trace(0, [])).segments == ()


def test_parameters_are_in_the_version() -> None:
    assert SegmenterConfig().version == SEGMENTER_VERSION
    other = SegmenterConfig(reaction_s=1.0)
    assert other.version.startswith(f"{SEGMENTER_VERSION}+")
    found = segment_trace(trace(400, [(200, 300)]), other)
    assert ("negative", 180, 200) in spans(found)
    assert {s.segmenter_version for s in found.segments} == {other.version}


def test_a_sealed_episode_is_labelled_without_its_warm_up(tmp_path: Path) -> None:
    meta = EpisodeMeta("e", Case("ParkedObstacle", 3), Role.TRAIN, "1", "scripted")
    writer = EpisodeWriter(tmp_path, meta)
    for number in range(-20, 200):
        driver = 100 <= number < 180
        if number == 100:
            writer.event("takeover", number, {"reason": "rule"})
        writer.tick(
            TickRow(
                number,
                number * 0.05,
                EgoState(0.4 * number, 0.0, 0.0, 8.0),
                Control(),
                "warmup" if number < 0 else "driver" if driver else "policy",
                "driver" if driver else "autonomous",
                ttc_s=1.0 if 50 <= number < 120 else INF,
                faults=("late",) if number == -3 else (),
            )
        )
    found = segment(EpisodeReader(writer.seal(Outcome(True, 100.0, 100.0, takeovers=1))))
    assert spans(found) == [
        ("observe", 0, 50),
        ("negative", 50, 100),
        ("adaptation", 100, 106),
        ("recovery", 106, 160),  # TTC is calm from 120 on
        ("driver", 160, 180),
        ("probation", 180, 200),
    ]
    assert found.takeovers[0].reason is Reason.RULE
    assert found.takeovers[0].min_ttc_before_s == 1.0
    assert found.takeovers[0].trains
