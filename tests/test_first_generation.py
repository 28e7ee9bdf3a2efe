from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest

from takeover.errors import UsageError
from takeover.evaluate.evaluator import Silent
from takeover.loop import Loop, RunConfig


@pytest.mark.parametrize("preset", ["qwen2.5-vl-3b", "qwen2.5-vl-7b", "qwen3-vl-4b"])
def test_a_stock_preset_is_not_replaced_by_the_tiny_policy(
    preset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused before anything is driven, with the command that begins with its weights."""
    monkeypatch.setattr(Loop, "_warm_up", lambda _: None)
    monkeypatch.setattr(Loop, "rollouts", lambda _: nullcontext())
    monkeypatch.setattr(Loop, "_drive", lambda *_: pytest.fail("it drives"))
    run = Loop(tmp_path, RunConfig.model_validate({"policy": {"preset": preset}}), Silent())
    with pytest.raises(UsageError, match=preset) as error:
        run.run()
    assert "loop init --model Qwen/" in str(error.value.fix)
