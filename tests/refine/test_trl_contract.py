"""What of TRL the GRPO subclass is built upon. A red test here is no fault: it says what to read again."""

from __future__ import annotations

import ast
import hashlib
import inspect
import textwrap
from collections.abc import Callable
from typing import Any

import pytest
from trl import GRPOTrainer
from trl.trainer import utils

# member -> (hash of its code in TRL 1.16, what to check when it has changed)
BUILT_UPON: dict[str, tuple[Callable[..., Any], str, str]] = {
    "_generate_and_score_completions": (
        GRPOTrainer._generate_and_score_completions,
        "5677d03cfc07",
        "the output must still hold `advantages` (B,), `completion_mask`, `prompt_mask` and `num_items_in_batch`; extra "
        "tensors must still pass; `tool_mask` must still be absent without tools",
    ),
    "_generate": (
        GRPOTrainer._generate,
        "7436135a7d56",
        "`rollout_func(prompts, trainer)` must still return prompt_ids, completion_ids, logprobs (None allowed), and the "
        "data set's pictures must still be used",
    ),
    "_get_per_token_logps_and_entropies": (
        GRPOTrainer._get_per_token_logps_and_entropies,
        "77347da2a2a0",
        "the first value must still be (B, T) log-probabilities of the completions at the sampling temperature, with "
        "their graph: policy shaping takes them from there",
    ),
    "_compute_loss": (
        GRPOTrainer._compute_loss,
        "285efd9cb09c",
        "rows with advantage 0 must still give no policy loss; `tool_mask` must still silence tokens; the denominator "
        "of `dapo` must still be num_items_in_batch / processes * accumulation steps / steps_per_generation; "
        "`_get_per_token_logps_and_entropies` must still be called once",
    ),
    "_prepare_inputs": (
        GRPOTrainer._prepare_inputs,
        "4c68d6b8882d",
        "every tensor with the batch first must still be shuffled and split with its row; scalars must stay",
    ),
    "_calculate_rewards": (
        GRPOTrainer._calculate_rewards,
        "6d76e1bf8ab6",
        "reward functions must still be called once a batch, in row order, with `completions`",
    ),
    "shuffle_sequence_dict": (
        utils.shuffle_sequence_dict,
        "f870226203b4",
        "rows of `injected`, `tool_mask` and the head's targets must still travel together",
    ),
}


def digest(function: Callable[..., Any]) -> str:
    """Hash of a function's code without comments, docstring and layout."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(function))))
    body = tree.body[0]
    assert isinstance(body, ast.FunctionDef)
    if ast.get_docstring(body) is not None:
        body.body = body.body[1:]
    code = ast.dump(tree).replace(", type_params=[]", "")  # Python 3.12 has them, 3.11 has not
    return hashlib.blake2b(code.encode(), digest_size=6).hexdigest()


@pytest.mark.parametrize("name", BUILT_UPON)
def test_trl_has_not_changed_under_the_subclass(name: str) -> None:
    function, known, check = BUILT_UPON[name]
    now = digest(function)
    assert now == known, (
        f"TRL's {name} has changed ({known} -> {now}). Check: {check}. Then run tests/refine/test_grpo.py and put the "
        "new hash here."
    )
