"""Draws the whole window from one `HudState`: picture, paths on the road, panels, frame and banner."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

import numpy as np
import pygame
import pygame.gfxdraw

from ...vocabulary import Authority, HandoverState
from . import gauges
from .hud_state import HudState, Level
from .looks import LOOKS, MINT, SKY
from .overlay import Array, ribbon
from .paint import Panels, frame
from .text import Colour, Text

BLINKS_BELOW = 0.6  # of the phase
EDGE_PX = 24  # between panels and the window's edge
PLAN_ALPHA, SHADOW_ALPHA = 120, 60
STALE_S = 1.0  # an older plan is drawn paler
HANDBACK_STEPS = 20
INSET = (320, 160)
WORDS_OF_BANNERS = frozenset(look.word.casefold() for look in LOOKS.values())


class Hud:
    """Draws states into surfaces of one size; keeps text and panels between pictures. One thread at a time.

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

    def draw(
        self,
        surface: pygame.Surface,
        picture: pygame.Surface | None,
        state: HudState,
        inset: pygame.Surface | None = None,
    ) -> None:
        """One picture of the window.

        Args:
            surface: Where to; its size is the window's.
            picture: Of `state.camera`; None paints the ground dark.
            state: What to show.
            inset: Picture in picture, the policy's view. A new surface object is scaled once.
        """
        if picture is None:
            surface.fill((18, 22, 28))
        elif picture.get_size() == self.size:
            copy_picture(surface, picture)
        else:
            surface.blit(pygame.transform.smoothscale(picture, self.size), (0, 0))
        self._paths(surface, state)
        if state.hud_visible:
            self._corners(surface, state, inset)
            self._cluster(surface, state)
        self._authority(surface, state)
        self._messages(surface, state)
        if picture is None and not state.paused and not state.help_visible:
            made = self.panels.get("no picture", True, lambda: gauges.title(self.text, *gauges.NO_PICTURE))
            surface.blit(made, made.get_rect(center=(self.size[0] // 2, self.size[1] // 2)))

    def _paths(self, surface: pygame.Surface, state: HudState) -> None:
        camera = state.camera
        if (camera.width_px, camera.height_px) != self.size:
            camera = replace(camera, width_px=self.size[0], height_px=self.size[1])
        if state.plan_m is not None and len(state.plan_m):
            pixels = ribbon(state.plan_m, camera)
            if pixels is not None:
                alpha = PLAN_ALPHA if state.authority is Authority.POLICY else SHADOW_ALPHA
                if state.plan_age_s > STALE_S:
                    alpha //= 2
                _strip(surface, pixels, SKY, alpha)
        if state.driver_m is not None and len(state.driver_m):
            pixels = ribbon(state.driver_m, camera, half_width_m=1.0)
            if pixels is not None:  # hollow, with lines across: it differs from the plan in more than colour
                for left, right in pixels[2::4].tolist():
                    pygame.draw.line(surface, MINT, left, right, 2)
                _edges(surface, pixels, MINT, 3)

    def _corners(self, surface: pygame.Surface, state: HudState, inset: pygame.Surface | None) -> None:
        text, width = self.text, self.size[0]
        place = (EDGE_PX, EDGE_PX)
        named = (state.scenario, state.episode, state.generation)
        trip = self.panels.get("trip", named, lambda: gauges.trip(text, *named))
        surface.blit(trip, place)
        gauges.trip_values(surface, text, state, place)
        if state.reasoning:
            shadow = state.authority is not Authority.POLICY
            said = self.panels.get(
                "reasoning",
                (state.reasoning, shadow),
                lambda: gauges.reasoning(text, state.reasoning, shadow),
            )
            surface.blit(said, (EDGE_PX, EDGE_PX + trip.get_height() + 12))
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
        surface.blit(status, (right - status.get_width(), EDGE_PX))
        below = EDGE_PX + status.get_height() + 12
        if inset is not None:
            self._blit_inset(surface, inset, state.inset, (right - INSET[0], below))
            below += INSET[1] + 12
        for at, one in enumerate(state.notices[:5]):
            made = self.panels.get(f"notice{at}", one.text, partial(gauges.notice, text, one.text))
            made.set_alpha(round(255 * min(max(one.left_s, 0.0), 1.0)))
            surface.blit(made, (right - made.get_width(), below + 38 * at))

    def _blit_inset(
        self, surface: pygame.Surface, inset: pygame.Surface, name: str, place: tuple[int, int]
    ) -> None:
        if self._inset is None or self._inset[0] is not inset:
            scaled = pygame.Surface(INSET, 0, 32)
            scaled.blit(pygame.transform.smoothscale(inset, INSET), (0, 0))
            self._inset = inset, scaled
        surface.blit(self._inset[1], place)
        pygame.draw.rect(surface, (14, 18, 24), (*place, *INSET), 2, border_radius=3)
        tag = self.panels.get("inset", name, lambda: gauges.label(self.text, name or "policy's view"))
        surface.blit(tag, (place[0] + 8, place[1] + 8))

    def _cluster(self, surface: pygame.Surface, state: HudState) -> None:
        fixed = (round(state.limit_mps * gauges.KMH), state.ghost_steer is not None)
        made = self.panels.get("cluster", fixed, lambda: gauges.cluster(self.text, *fixed))
        place = (
            (self.size[0] - gauges.CLUSTER[0]) // 2,
            self.size[1] - EDGE_PX - self._foot_px - gauges.CLUSTER[1],
        )
        surface.blit(made, place)
        gauges.cluster_values(surface, self.text, state, place)

    def _authority(self, surface: pygame.Surface, state: HudState) -> None:
        look = LOOKS[state.handover]
        lit = state.handover is not HandoverState.REQUESTED or state.blink < BLINKS_BELOW
        for side, place in frame(self.size, look, lit):
            surface.blit(side, place)
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
        surface.blit(made, made.get_rect(midtop=(self.size[0] // 2, EDGE_PX)))

    def _messages(self, surface: pygame.Surface, state: HudState) -> None:
        text, panels, middle = self.text, self.panels, self.size[0] // 2
        below = EDGE_PX + 78
        if state.countdown_s is not None:
            seconds = f"{max(state.countdown_s, 0.0):.1f}"
            made = panels.get("countdown", seconds, lambda: gauges.countdown(text, seconds))
            surface.blit(made, made.get_rect(midtop=(middle, below)))
            below += made.get_height() + 10
        shown = state.alert and not _told(state)
        if shown and (state.alert_level is not Level.CRITICAL or state.blink < BLINKS_BELOW):
            told = (state.alert, state.alert_detail, state.alert_level)
            made = panels.get("alert", told, lambda: gauges.alert(text, *told))
            surface.blit(made, made.get_rect(midtop=(middle, below)))
            below += made.get_height() + 10
        if state.practice:
            made = panels.get("practice", True, lambda: gauges.label(text, *gauges.PRACTICE))
            surface.blit(made, made.get_rect(midtop=(middle, below)))
        if not state.hud_visible and state.recording:
            made = panels.get("rec", True, lambda: gauges.label(text, "● REC", gauges.RED))
            surface.blit(made, made.get_rect(topright=(self.size[0] - EDGE_PX, EDGE_PX)))
        if state.prompt is not None:
            asked, left = state.prompt, math.ceil(state.prompt.left_s)
            made = panels.get(
                "prompt",
                (asked.choices, asked.verdicts, asked.chosen, left),
                lambda: gauges.prompt(text, asked, left),
            )
            foot = self.size[1] - EDGE_PX - self._foot_px - gauges.CLUSTER[1] - 12
            surface.blit(made, made.get_rect(midbottom=(middle, foot)))
        if state.help_visible:
            made = panels.get("help", self._keys, lambda: gauges.keys_help(text, self._keys))
            surface.blit(made, made.get_rect(center=(middle, self.size[1] // 2)))
        if state.paused:
            told = gauges.PAUSED if state.resumes_s is None else gauges.going_on(state.resumes_s)
            made = panels.get("paused", told, lambda: gauges.title(text, *told))
            surface.blit(made, made.get_rect(center=(middle, self.size[1] // 2)))


def copy_picture(surface: pygame.Surface, picture: pygame.Surface) -> None:
    """The picture onto the window: its memory in one go where the layouts agree, a third faster than a blit.

    A camera's fourth channel is no opacity.
    """
    if (
        picture.get_bitsize() == surface.get_bitsize() == 32
        and picture.get_masks()[:3] == surface.get_masks()[:3]
        and picture.get_pitch() == surface.get_pitch()
    ):
        # The stubs do not know that a view is a buffer.
        window, pixels = (memoryview(one.get_view("0")) for one in (surface, picture))  # type: ignore[arg-type]
        window[:] = pixels
        window.release()  # a surface stays locked while its memory is looked at
        pixels.release()
    else:
        picture.set_alpha(None)
        surface.blit(picture, (0, 0))


def _strip(surface: pygame.Surface, pixels: Array, colour: Colour, alpha: int) -> None:
    """A filled strip on the road."""
    outline = np.concatenate([pixels[:, 0], pixels[::-1, 1]]).astype(int).tolist()
    pygame.gfxdraw.filled_polygon(surface, outline, (*colour, alpha))
    _edges(surface, pixels, colour, 2)


def _edges(surface: pygame.Surface, pixels: Array, colour: Colour, width_px: int) -> None:
    for side in (0, 1):
        pygame.draw.lines(surface, colour, False, pixels[:, side].tolist(), width_px)


def _told(state: HudState) -> bool:
    """The alert says no more than the banner does."""
    return state.alert.casefold() in WORDS_OF_BANNERS
