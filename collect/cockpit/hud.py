"""What the window shows over the picture, from one `HudState`: paths on the road, panels, frame and banner."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

import pygame

from ...vocabulary import Authority, HandoverState
from . import gauges
from .hud_state import HudState, Level
from .layers import Layers
from .looks import LOOKS, MINT, PALE, SKY
from .overlay import Array, ribbon
from .paint import Panels, frame
from .text import Colour, Text

BLINKS_BELOW = 0.6  # of the phase
EDGE_PX = 24  # between panels and the window's edge
STALE_S = 1.0  # an older plan is drawn paler
FADES = 8  # steps in which a notice fades
HANDBACK_STEPS = 20
INSET = (320, 160)
WORDS_OF_BANNERS = frozenset(look.word.casefold() for look in LOOKS.values())


class Hud:
    """Prepares windows of one size; keeps text and panels between pictures. One thread at a time.

    Args:
        size: Of the window, (1280, 720).
        keys: (key, words) for the help.
        foot_px: Rows at the foot of the window that are left to others.
    """

    def __init__(
        self, size: tuple[int, int], keys: tuple[tuple[str, str], ...] = (), foot_px: int = 0
    ) -> None:
        self.size = size
        self.text = Text()
        self.panels = Panels()
        self._keys, self._foot_px = keys, foot_px
        self._inset: tuple[object, pygame.Surface] | None = None

    def prepare(self, state: HudState, inset: pygame.Surface | None = None) -> Layers:
        """What lies over the picture of `state.camera`.

        Args:
            state: What to show.
            inset: Picture in picture, the policy's view. A new surface object is scaled once.
        """
        layers = Layers()
        self._paths(layers, state)
        if state.hud_visible:
            self._corners(layers, state, inset)
            self._cluster(layers, state)
        self._authority(layers, state)
        self._messages(layers, state)
        if not state.paused and not state.help_visible:
            layers.waiting = self.panels.get(
                "no picture", True, lambda: gauges.title(self.text, *gauges.NO_PICTURE)
            )
        return layers

    def draw(
        self,
        surface: pygame.Surface,
        picture: pygame.Surface | None,
        state: HudState,
        inset: pygame.Surface | None = None,
    ) -> None:
        """The window in one go.

        Args:
            surface: Where to; its size is the window's.
            picture: Of `state.camera`; None paints the ground dark.
            state: What to show.
            inset: Picture in picture.
        """
        self.prepare(state, inset).put(surface, picture)

    def _paths(self, layers: Layers, state: HudState) -> None:
        camera = state.camera
        if (camera.width_px, camera.height_px) != self.size:
            camera = replace(camera, width_px=self.size[0], height_px=self.size[1])
        if state.plan_m is not None and len(state.plan_m):
            pixels = ribbon(state.plan_m, camera)
            if pixels is not None:
                pale = state.authority is not Authority.POLICY or state.plan_age_s > STALE_S
                _planks(layers, pixels, PALE if pale else SKY)
        if state.driver_m is not None and len(state.driver_m):
            pixels = ribbon(state.driver_m, camera, half_width_m=1.0)
            if pixels is not None:  # hollow: it differs from the plan in more than colour
                _edges(layers, pixels, MINT, 3)

    def _corners(self, layers: Layers, state: HudState, inset: pygame.Surface | None) -> None:
        text, width = self.text, self.size[0]
        place = (EDGE_PX, EDGE_PX)
        named = (state.scenario, state.episode, state.generation)
        trip = self.panels.get("trip", named, lambda: gauges.trip(text, *named))
        layers.blit(trip, place)
        gauges.trip_values(layers, text, state, place)
        if state.reasoning:
            shadow = state.authority is not Authority.POLICY
            said = self.panels.get(
                "reasoning",
                (state.reasoning, shadow),
                lambda: gauges.reasoning(text, state.reasoning, shadow),
            )
            layers.blit(said, (EDGE_PX, EDGE_PX + trip.get_height() + 12))
        lit = state.blink < BLINKS_BELOW
        status = self.panels.get(
            "status",
            (
                state.replay,
                state.recording,
                lit,
                state.takeovers,
                round(state.real_time_factor, 2),
                round(state.fps),
            ),
            lambda: gauges.status(text, state, lit),
        )
        right = width - EDGE_PX
        layers.blit(status, (right - status.get_width(), EDGE_PX))
        below = EDGE_PX + status.get_height() + 12
        if inset is not None:
            self._blit_inset(layers, inset, state.inset, (right - INSET[0], below))
            below += INSET[1] + 12
        for at, one in enumerate(state.notices[:5]):
            faded = math.ceil(FADES * min(max(one.left_s, 0.0), 1.0)) / FADES
            made = self.panels.get(
                f"notice{at}", (one.text, faded), partial(gauges.notice, text, one.text, faded)
            )
            layers.blit(made, (right - made.get_width(), below + 38 * at))

    def _blit_inset(self, layers: Layers, inset: pygame.Surface, name: str, place: tuple[int, int]) -> None:
        if self._inset is None or self._inset[0] is not inset:
            scaled = pygame.Surface(INSET, 0, 32)
            scaled.blit(pygame.transform.smoothscale(inset, INSET), (0, 0))
            pygame.draw.rect(scaled, (14, 18, 24), scaled.get_rect(), 2)
            self._inset = inset, scaled
        layers.blit(self._inset[1], place)
        tag = self.panels.get("inset", name, lambda: gauges.label(self.text, name or "policy's view"))
        layers.blit(tag, (place[0] + 8, place[1] + 8))

    def _cluster(self, layers: Layers, state: HudState) -> None:
        fixed = (round(state.limit_mps * gauges.KMH), state.ghost_steer is not None)
        made = self.panels.get("cluster", fixed, lambda: gauges.cluster(self.text, *fixed))
        place = (
            (self.size[0] - gauges.CLUSTER[0]) // 2,
            self.size[1] - EDGE_PX - self._foot_px - gauges.CLUSTER[1],
        )
        layers.blit(made, place)
        gauges.cluster_values(layers, self.text, state, place)

    def _authority(self, layers: Layers, state: HudState) -> None:
        look = LOOKS[state.handover]
        lit = state.handover is not HandoverState.REQUESTED or state.blink < BLINKS_BELOW
        for side, place in frame(self.size, look, lit):
            layers.blit(side, place)
        detail, share = look.line, None
        if state.alert.casefold() == look.word.casefold() and state.alert_detail:
            detail = state.alert_detail
        if state.handover is HandoverState.HANDBACK:
            share = round(state.blend * HANDBACK_STEPS) / HANDBACK_STEPS
            detail = f"policy {100 * share:.0f} %"
        elif state.handover is HandoverState.PROBATION and state.probation_s is not None:
            detail = f"stay ready · {math.ceil(state.probation_s)} s"
        made = self.panels.get(
            "banner", (look, detail, share), lambda: gauges.banner(self.text, look, detail, share)
        )
        layers.blit(made, made.get_rect(midtop=(self.size[0] // 2, EDGE_PX)))

    def _messages(self, layers: Layers, state: HudState) -> None:
        text, panels, middle = self.text, self.panels, self.size[0] // 2
        below = EDGE_PX + 78
        if state.countdown_s is not None:
            seconds = f"{max(state.countdown_s, 0.0):.1f}"
            made = panels.get("countdown", seconds, lambda: gauges.countdown(text, seconds))
            layers.blit(made, made.get_rect(midtop=(middle, below)))
            below += made.get_height() + 10
        shown = state.alert and not _told(state)
        if shown and (state.alert_level is not Level.CRITICAL or state.blink < BLINKS_BELOW):
            told = (state.alert, state.alert_detail, state.alert_level)
            made = panels.get("alert", told, lambda: gauges.alert(text, *told))
            layers.blit(made, made.get_rect(midtop=(middle, below)))
            below += made.get_height() + 10
        if state.practice:
            made = panels.get("practice", True, lambda: gauges.label(text, *gauges.PRACTICE))
            layers.blit(made, made.get_rect(midtop=(middle, below)))
        if not state.hud_visible and state.recording:
            made = panels.get("rec", True, lambda: gauges.label(text, "● REC", gauges.RED))
            layers.blit(made, made.get_rect(topright=(self.size[0] - EDGE_PX, EDGE_PX)))
        if state.prompt is not None:
            asked, left = state.prompt, math.ceil(state.prompt.left_s)
            made = panels.get(
                "prompt",
                (asked.choices, asked.verdicts, asked.chosen, left),
                lambda: gauges.prompt(text, asked, left),
            )
            foot = self.size[1] - EDGE_PX - self._foot_px - gauges.CLUSTER[1] - 12
            layers.blit(made, made.get_rect(midbottom=(middle, foot)))
        if state.help_visible:
            made = panels.get("help", self._keys, lambda: gauges.keys_help(text, self._keys))
            layers.blit(made, made.get_rect(center=(middle, self.size[1] // 2)))
        if state.paused:
            words = gauges.PAUSED if state.resumes_s is None else gauges.going_on(state.resumes_s)
            made = panels.get("paused", words, lambda: gauges.title(text, *words))
            layers.blit(made, made.get_rect(center=(middle, self.size[1] // 2)))


def _planks(layers: Layers, pixels: Array, colour: Colour) -> None:
    """A strip of planks with road between them: seen as filled, and nothing has to be blended."""
    corners = pixels.tolist()
    for (left, right), (far_left, far_right) in zip(corners[0:-1:2], corners[1::2], strict=True):
        layers.polygon(colour, (left, right, far_right, far_left))


def _edges(layers: Layers, pixels: Array, colour: Colour, width_px: int) -> None:
    for side in (0, 1):
        layers.lines(colour, pixels[:, side].tolist(), width_px)


def _told(state: HudState) -> bool:
    """The alert says no more than the banner does."""
    return state.alert.casefold() in WORDS_OF_BANNERS
