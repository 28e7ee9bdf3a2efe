"""Scenes that NAVSIM v1.1 scored itself, as `Scene` and plans (format: tests/data, made by its own simulator)."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from takeover.scoring.pdms import PACIFICA
from takeover.scoring.scene import Scene, kind_codes
from takeover.vocabulary import ActorKind, EgoState

SMALL = Path(__file__).parent.parent / "data" / "pdms_vectors_small.json.gz"
_KINDS = {"vehicle": ActorKind.VEHICLE, "pedestrian": ActorKind.WALKER, "bicycle": ActorKind.CYCLIST}


def load(path: Path = SMALL) -> list[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        vectors: list[dict[str, Any]] = json.load(file)
    return vectors


def scene_of(vector: dict[str, Any]) -> Scene:
    scene, reference = vector["scene"], vector["reference"]
    ego, agents, back = scene["ego"], scene["agents"], PACIFICA.rear_to_centre_m

    def polygons(kind: str) -> tuple[NDArray[np.float64], ...]:
        return tuple(np.array(one["polygon"]) for one in scene["map"] if one["type"] == kind)

    return Scene(
        ego=EgoState(
            ego["x"] + back * np.cos(ego["heading"]),
            ego["y"] + back * np.sin(ego["heading"]),
            ego["heading"],
            ego["vx"],
            ego["ax"],
            ego["yaw_rate"],
            ego["steer"],
        ),
        agents_t_s=np.array([state[0] for state in agents[0]["states"]]),
        agents=np.array([[state[1:] for state in agent["states"]] for agent in agents]),
        agent_size_m=np.array([(agent["length"], agent["width"]) for agent in agents]),
        agent_kind=kind_codes([_KINDS.get(agent["type"], ActorKind.STATIC) for agent in agents]),
        centerline_m=np.array(scene["centerline"]),
        roadblock_polygons=polygons("roadblock"),
        lane_polygons=polygons("lane"),
        intersection_polygons=polygons("intersection"),
        reference_progress_m=reference["progress_m"],
        reference_multiplier=reference["NC"] * reference["DAC"],
        vehicle=PACIFICA,
    )


def plans_of(vector: dict[str, Any]) -> tuple[list[str], NDArray[np.float64]]:
    """Names, and plans (10, 8, 3) moved from the rear axle to the box centre."""
    proposals = vector["scene"]["proposals"]
    poses = np.array([proposal["poses"] for proposal in proposals])
    poses[..., 0] += PACIFICA.rear_to_centre_m * (np.cos(poses[..., 2]) - 1.0)
    poses[..., 1] += PACIFICA.rear_to_centre_m * np.sin(poses[..., 2])
    return [proposal["name"] for proposal in proposals], poses
