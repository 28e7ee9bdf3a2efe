from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from takeover.refine.feature_store import FeatureStore, packed, unpacked

KB = 1000


def entry(seed: int, rows: int = 10) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {"last": torch.randn(rows, 100, generator=generator)}


def test_floats_come_back_bit_for_bit_and_from_another_store(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path, 100 * KB)
    half = {"last": entry(1)["last"].bfloat16(), "layers": torch.randn(10, 2, 7)}
    store.put("a", entry(0))
    store.put("b", half)
    for again in (store, FeatureStore(tmp_path, 100 * KB)):
        found = again.get("a")
        assert found is not None
        assert torch.equal(found["last"], entry(0)["last"])
        found = again.get("b")
        assert found is not None
        assert all(torch.equal(found[name], half[name]) for name in half)
        assert found["last"].dtype is torch.bfloat16
    assert store.get("c") is None


def test_eight_bits_are_a_quarter_and_err_by_half_a_step_at_most(tmp_path: Path) -> None:
    values = entry(0, 200)["last"] * torch.logspace(
        -3, 3, 100
    )  # the last channels are a million times the first
    values[0] = 0.0
    returned = FeatureStore(tmp_path / "8", 1000 * KB, int8=True).put("a", {"last": values})["last"]
    found = FeatureStore(tmp_path / "8", 1000 * KB, int8=True).get("a")
    assert found is not None
    assert torch.equal(found["last"], returned)  # a first run sees what a second one does
    assert torch.equal(returned[0], values[0])
    for part in (slice(0, 64), slice(64, 100)):  # blocks of 64 channels
        largest = values[:, part].abs().amax(dim=1, keepdim=True)
        assert bool(((returned - values)[:, part].abs() <= largest / 254 * 1.0001).all())
    FeatureStore(tmp_path / "32", 1000 * KB).put("a", {"last": values})
    size, full = ((tmp_path / kind / "a.safetensors").stat().st_size for kind in ("8", "32"))
    assert size < 0.3 * full


def test_what_is_no_float_is_kept_as_it_is() -> None:
    tensors = {"count": torch.arange(5), "last": torch.tensor([[127.0, -1.0]])}
    found = unpacked(packed(tensors))
    assert torch.equal(found["count"], tensors["count"])
    torch.testing.assert_close(found["last"], tensors["last"])  # the scale is 1


def test_the_budget_holds_and_the_least_recently_used_go_first(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path, 13 * KB)  # three entries of 4 kB and their headers
    for name in "abc":
        store.put(name, entry(ord(name)))
        time.sleep(0.01)
    assert store.get("a") is not None  # used again: b is now the oldest
    store.put("d", entry(4))
    assert store.get("b") is None
    assert sorted(path.stem for path in tmp_path.iterdir()) == ["a", "c", "d"]
    assert store.bytes == sum(path.stat().st_size for path in tmp_path.iterdir()) <= 13 * KB
    later = FeatureStore(tmp_path, 5 * KB)  # opened with less: the newest stays
    assert [path.stem for path in tmp_path.iterdir()] == ["d"]
    later.put("large", entry(5, 100))
    assert later.get("large") is None
    assert later.get("d") is not None
    later.put("d", entry(6))
    assert len(later) == 1


def test_a_damaged_entry_is_made_again(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path, 100 * KB)
    store.put("a", entry(0))
    (tmp_path / "a.safetensors").write_bytes(b"half of it")
    assert store.get("a") is None
    assert store.bytes == 0
    store.put("a", entry(0))
    (tmp_path / "a.safetensors").unlink()  # another process evicted it
    assert store.get("a") is None


WRITER = """
import sys, torch
from pathlib import Path
from takeover.refine.feature_store import FeatureStore
store = FeatureStore(Path(sys.argv[1]), 10**9)
print("ready", flush=True)
number = 0
while True:
    store.put(str(number), {"last": torch.full((200, 200), float(number))})
    number += 1
"""


@pytest.mark.parametrize("wait_s", [0.05, 0.11])
def test_a_killed_writer_leaves_no_half_entry(tmp_path: Path, wait_s: float) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-P", "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    assert writer.stdout.readline() == "ready\n"
    time.sleep(wait_s)
    os.kill(writer.pid, signal.SIGKILL)
    writer.wait()
    (tmp_path / f"x.{writer.pid}.tmp").write_bytes(b"half")  # as if it had been cut off while writing
    store = FeatureStore(tmp_path, 10**9)
    assert not list(tmp_path.glob("*.tmp"))
    assert len(store) > 0
    for number in range(len(store)):
        found = store.get(str(number))
        assert found is not None
        assert torch.equal(found["last"], torch.full((200, 200), float(number)))
