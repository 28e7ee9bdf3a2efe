"""Threads of torch: more for training, one again afterwards, whatever happens."""

import os
import threading

import pytest
import torch

from takeover.models.policy import Policy
from takeover.models.threads import training_threads

from .scenes import make_inputs


def test_training_has_its_threads_and_gives_them_back() -> None:
    Policy.tiny(0)
    assert torch.get_num_threads() == 1
    wanted = min(2, os.cpu_count() or 1)

    def fails() -> None:
        with training_threads(2):
            Policy.tiny(0)  # a policy made meanwhile takes none away
            assert torch.get_num_threads() == wanted
            raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011 its own
        fails()
    assert torch.get_num_threads() == 1
    with training_threads(10_000):
        assert torch.get_num_threads() <= (os.cpu_count() or 1)


def test_a_block_inside_gives_back_what_it_took() -> None:
    with training_threads(2):
        before = torch.get_num_threads()
        with training_threads(1):
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == before


def test_plans_beside_training_take_one_thread_and_leave_training_its_own() -> None:
    policy, seen = Policy.tiny(0), list[int]()

    def plan_beside() -> None:
        policy.plan(make_inputs(1), "0")
        seen.append(torch.get_num_threads())

    with training_threads(2):
        before = torch.get_num_threads()
        thread = threading.Thread(target=plan_beside)
        thread.start()
        thread.join()
        assert seen == [1]
        assert torch.get_num_threads() == before == min(2, os.cpu_count() or 1)
