"""One drive through the real loop, with its real children: taken over, handed back, sealed, labelled; then its ends."""

from __future__ import annotations

import os
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pygame
import pytest

from takeover.collect.cockpit.app import End, EpisodeEnd, drive_episode
from takeover.collect.cockpit.dash import WEATHERS
from takeover.collect.cockpit.hud import Hud
from takeover.collect.cockpit.hud_state import HudState
from takeover.collect.cockpit.links import Links, LinkSettings
from takeover.collect.cockpit.recorded import Recorded
from takeover.collect.devices.state import Action
from takeover.collect.labels import label_episode
from takeover.collect.recorder import Recording
from takeover.models.policy import Policy
from takeover.store import writer
from takeover.store.episodes import EpisodeReader, sealed, verify
from takeover.vocabulary import Case, Phase

from .hands import ScriptedHands, Stretch, Watched

CASE = Case("LaneFollowing", 5)
SIZE = (320, 180)
SCRIPT = (
    Stretch(0.0),
    Stretch(1.0, brake=0.6),
    Stretch(2.0, throttle=0.3, actions=(Action.REASON_1, Action.GOOD)),
    Stretch(3.0, actions=(Action.HANDBACK,)),
    Stretch(4.2, actions=(Action.QUIT,)),
)


@pytest.fixture(scope="module")
def links(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Links]:
    os.environ["SDL_VIDEODRIVER"] = os.environ["SDL_AUDIODRIVER"] = "dummy"
    folder = tmp_path_factory.mktemp("cockpit")
    policy = Policy.tiny(0).save(folder / "policy")
    with Links(LinkSettings(policy, "7", words=False, logs=folder / "logs")) as running:
        pygame.display.init()
        pygame.font.init()
        yield running
    pygame.display.quit()


def drive(
    links: Links,
    home: Path,
    script: tuple[Stretch, ...] = SCRIPT,
    saw: Callable[[HudState], None] = lambda _: None,
    hands: ScriptedHands | None = None,
) -> EpisodeEnd:
    hands = hands or ScriptedHands(script)
    hud = Watched(Hud(SIZE), hands)
    hud.saw = saw  # type: ignore[method-assign]
    return drive_episode(
        links,
        CASE,
        hands,
        pygame.display.set_mode(SIZE),
        hud,
        episodes=home / "episodes",
        recording=Recording(str(uuid.uuid4()), CASE, "7", "human", driver_id="p", session_id="s"),
    )


def test_a_drive_becomes_a_sealed_episode_with_its_takeover(links: Links, tmp_path: Path) -> None:
    hands = ScriptedHands(SCRIPT)
    end = drive(links, tmp_path, hands=hands)
    assert end.end is End.QUIT
    assert end.problem == ""
    assert any(steer is not None for steer in hands.held), "the wheel follows the policy"
    assert hands.held[-1] is None, "and is let go at the end"
    assert end.path is not None
    verify(end.path)
    reader = EpisodeReader(end.path)
    ticks = reader.ticks
    rows = ticks["tick"][reader.warmup :]
    assert rows.tolist() == list(range(len(rows)))
    assert reader.frame_ticks == [t for t in ticks["tick"].tolist() if t % 10 == 0]
    assert reader.manifest["meta"]["driver_kind"] == "human"
    driven = ticks["executed_by"] == "driver"
    assert end.onsets == (int(ticks["tick"][driven][0]),)
    assert ticks["driver_brake"][driven].max() == pytest.approx(0.6)
    assert ticks["executed_brake"][driven][5:10] == pytest.approx(0.6)
    shadows = [row.plan.tick for row in reader.plans if row.plan.shadow]
    assert shadows
    rows_of_plans = [(reader.row(row.plan.tick), row.plan.shadow) for row in reader.plans]
    assert all(shadow for at, shadow in rows_of_plans if driven[at - 2 : at + 3].all())
    kinds = [event.kind for event in reader.events]
    assert kinds.count("takeover") == kinds.count("handback") == 1
    assert kinds.count("label") == 2
    samples = [sample for row in reader.inputs for sample in row.samples]
    assert {sample.brake for sample in samples} >= {0.0, 0.6}
    labels = label_episode(end.path, 0)
    assert len(labels.takeovers) == 1
    phases = {segment.phase for segment in labels.segments}
    assert Phase.RECOVERY in phases
    before = ticks["executed_by"][reader.row(end.onsets[0] - 1)]
    if before == "policy":  # a starved policy is a safe stop by then
        assert Phase.NEGATIVE in phases
    assert labels.pairs


def test_the_weather_key_changes_what_everybody_sees_and_replay_knows_it(
    links: Links, tmp_path: Path
) -> None:
    night = (Action.WEATHER,) * (WEATHERS.index("ClearNight") + 1)
    end = drive(
        links, tmp_path, (Stretch(0.0), Stretch(1.0, actions=night), Stretch(2.5, actions=(Action.QUIT,)))
    )
    assert end.path is not None
    reader = EpisodeReader(end.path)
    changes = [event for event in reader.events if event.kind == "weather"]
    assert [event.data["preset"] for event in changes] == list(WEATHERS[: len(night)])
    assert reader.images(reader.frame_ticks[-1]).mean() < 0.6 * reader.images(0).mean()
    replayed = Recorded(end.path)
    seat = replayed.views[0]
    day, dark = (
        pygame.surfarray.array3d(replayed.picture(tick, seat)).mean()
        for tick in (changes[-1].tick, reader.frame_ticks[-1])
    )
    assert dark < 0.6 * day
    again = drive(links, tmp_path, (Stretch(0.0), Stretch(0.6, actions=(Action.QUIT,))))
    assert again.path is not None
    assert EpisodeReader(again.path).images(0).mean() == pytest.approx(reader.images(0).mean(), rel=0.01)


@pytest.mark.parametrize("closed", [False, True])
def test_a_signal_or_a_closed_window_seals_what_there_is(links: Links, tmp_path: Path, closed: bool) -> None:
    def later() -> None:
        time.sleep(3.0)
        if closed:
            pygame.event.post(pygame.event.Event(pygame.QUIT))
        else:
            os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=later, daemon=True).start()
    begun_s = time.monotonic()
    end = drive(links, tmp_path, (Stretch(0.0), Stretch(0.3, brake=0.5)))
    assert end.end is End.STOPPED
    assert time.monotonic() - begun_s < 3.0 + 5.0
    if end.path is not None:
        verify(end.path)


def test_a_full_disk_is_told_and_what_was_written_is_salvaged(
    links: Links, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []

    def fill(state: HudState) -> None:
        told.append(state.alert)
        if state.time_s > 0.5:
            monkeypatch.setattr(writer, "MIN_FREE_SHARE", 2.0)
            monkeypatch.setattr(writer, "MIN_FREE_CAP_BYTES", 1 << 62)

    end = drive(links, tmp_path, (Stretch(0.0), Stretch(3.0, actions=(Action.QUIT,))), fill)
    assert end.end is End.QUIT
    assert "free" in end.problem
    assert "Recording failed" in told
    assert end.path is not None
    assert EpisodeReader(end.path).truncated


def test_a_bug_of_the_hud_is_told_and_the_drive_is_kept(links: Links, tmp_path: Path) -> None:
    def break_down(state: HudState) -> None:
        if state.time_s > 0.3:
            raise ZeroDivisionError("of the HUD")

    with pytest.raises(ZeroDivisionError):
        drive(links, tmp_path, (Stretch(0.0),), break_down)
    (path,) = sealed(tmp_path / "episodes")
    assert EpisodeReader(path).outcome.end == "aborted"


def test_a_dead_world_ends_the_drive_and_the_next_one_can_be_driven(links: Links, tmp_path: Path) -> None:
    def kill(state: HudState) -> None:
        if state.time_s > 0.5 and links.world.alive:
            os.kill(links.world.pid, signal.SIGKILL)

    end = drive(links, tmp_path, (Stretch(0.0),), kill)
    assert end.end is End.WORLD_LOST
    assert end.path is not None
    reader = EpisodeReader(end.path)
    assert reader.truncated
    assert reader.outcome.end == "sim_fault"
    links.world.restart()
    assert drive(links, tmp_path, (Stretch(0.0), Stretch(0.5, actions=(Action.QUIT,)))).end is End.QUIT
