"""The question after a takeover, with an injected clock."""

from __future__ import annotations

import pytest

from takeover.collect.cockpit.labels import LABEL_WINDOW_S, REASONS, VERDICTS, LabelPrompt
from takeover.collect.devices.state import Action
from takeover.vocabulary import Reason, Verdict


def test_every_action_has_its_word() -> None:
    assert {*REASONS, *VERDICTS} <= {action.value for action in Action}
    assert list(REASONS.values()) == [r for r in Reason if r is not Reason.TRAINING]


def test_keys_count_for_ten_seconds_after_the_takeover() -> None:
    asked = LabelPrompt()
    assert asked.act("good", 0.0) is None
    asked.takeover(100, 5.0)
    label = asked.act("reason_2", 14.9)
    assert label is not None
    assert label.data == {"onset_tick": 100, "verdict": "", "reason": "rule"}
    assert asked.act("good", 5.0 + LABEL_WINDOW_S + 0.01) is None
    assert asked.prompt(16.0) is None


def test_the_hand_back_opens_another_window() -> None:
    asked = LabelPrompt()
    asked.handback(1.0)
    assert asked.prompt(1.0) is None
    asked.takeover(100, 5.0)
    asked.handback(60.0)
    label = asked.act("mistake", 69.9)
    assert label is not None
    assert label.says is Verdict.MISTAKE
    assert label.words == "my mistake"


def test_a_new_takeover_is_a_new_question() -> None:
    asked = LabelPrompt()
    asked.takeover(100, 5.0)
    asked.act("good", 6.0)
    asked.takeover(200, 8.0)
    prompt = asked.prompt(8.0)
    assert prompt is not None
    assert prompt.chosen == ()
    label = asked.act("discard", 9.0)
    assert label is not None
    assert label.onset_tick == 200


def test_the_hud_sees_what_is_asked_and_what_was_said() -> None:
    asked = LabelPrompt()
    asked.takeover(1, 0.0)
    asked.act("good", 1.0)
    asked.act("reason_1", 2.0)
    prompt = asked.prompt(4.0)
    assert prompt is not None
    assert prompt.left_s == pytest.approx(6.0)
    assert prompt.chosen == ("good", "collision risk")
    assert [key for key, _ in prompt.choices] == [str(n) for n in range(1, 9)]
    assert len(prompt.verdicts) == 3
    assert asked.act("camera", 4.0) is None
