"""Threads of torch: more for training, one again afterwards, whatever happens."""

import os

import pytest
import torch

from takeover.models.policy import Policy
from takeover.models.threads import training_threads


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
