"""An episode as a Rerun recording: cameras, plans in two and three dimensions, control, TTC, authority bands."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import UsageError
from ...store.episodes import EpisodeReader
from ...store.records import PlanRow
from ...vocabulary import ActorKind, CameraSpec, EgoState, HandoverState
from .looks import LOOKS, MINT, SKY, YELLOW
from .overlay import ribbon

APP_ID = "takeover"
TIMELINE, TICKS = "drive", "tick"
TTC_TOP_S = 8.0  # an infinite time to collision is drawn here
EGO_SIZE_M = (4.9, 2.1, 1.5)
HEIGHTS_M = {ActorKind.VEHICLE: 1.5, ActorKind.WALKER: 1.8, ActorKind.CYCLIST: 1.7, ActorKind.STATIC: 1.0}
KIND_COLOURS = {
    ActorKind.VEHICLE: (230, 159, 0),
    ActorKind.WALKER: (213, 94, 0),
    ActorKind.CYCLIST: (204, 121, 167),
    ActorKind.STATIC: (150, 150, 150),
}
BANDS = tuple(HandoverState)


def write_recording(path: Path, out: Path) -> int:
    """Write an `.rrd` file; `rerun FILE` shows it.

    Args:
        path: The episode's folder.
        out: The file.

    Returns:
        Its size in bytes.

    Raises:
        UsageError: `rerun-sdk` is not installed.
    """
    rr, rrb = _rerun()
    reader = EpisodeReader(path)
    cameras = reader.meta.cameras
    stream = rr.RecordingStream(APP_ID, recording_id=reader.episode_id)
    stream.save(str(out), default_blueprint=_blueprint(rrb, cameras))
    _static(rr, stream, reader)
    _ticks(rr, stream, reader)
    _plans(rr, stream, reader)
    _frames(rr, stream, reader)
    _events(rr, stream, reader)
    stream.disconnect()
    return out.stat().st_size


def _blueprint(rrb: Any, cameras: tuple[CameraSpec, ...]) -> Any:
    series = [
        rrb.TimeSeriesView(origin="/authority", name="Authority"),
        rrb.TimeSeriesView(origin="/ttc", name="Time to collision"),
        rrb.TimeSeriesView(origin="/control", name="Control"),
        rrb.TimeSeriesView(origin="/speed", name="Speed"),
    ]
    views = [
        rrb.Spatial2DView(origin=f"/camera/{camera.name}", name=f"Camera {camera.name}") for camera in cameras
    ]
    return rrb.Blueprint(
        rrb.Horizontal(
            rrb.Vertical(
                rrb.Spatial3DView(origin="/world", name="World"),
                rrb.Horizontal(*views, rrb.TextLogView(origin="/events", name="Events")),
                row_shares=[3, 2],
            ),
            rrb.Vertical(*series, row_shares=[1, 1, 2, 1]),
            column_shares=[3, 2],
        ),
        rrb.TimePanel(timeline=TIMELINE, state="collapsed"),
        rrb.BlueprintPanel(state="collapsed"),
        rrb.SelectionPanel(state="collapsed"),
    )


def _static(rr: Any, stream: Any, reader: EpisodeReader) -> None:
    meta = reader.meta
    stream.log("world", rr.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)
    if len(meta.route_centerline_m):
        stream.log(
            "world/route",
            rr.LineStrips3D([_lifted(meta.route_centerline_m, 0.02)], colors=[(120, 120, 120)], radii=[0.1]),
            static=True,
        )
    for state in BANDS:
        line = rr.SeriesLines(colors=[LOOKS[state].colour], names=[state.value], widths=[6.0])
        stream.log(f"authority/{state.value}", line, static=True)
    for who, colour in (("executed", (230, 230, 230)), ("policy", SKY), ("driver", MINT)):
        for what in ("steer", "throttle", "brake"):
            name = f"{who} {what}"
            stream.log(f"control/{who}/{what}", rr.SeriesLines(colors=[colour], names=[name]), static=True)
    stream.log("ttc/s", rr.SeriesLines(colors=[YELLOW], names=["time to collision, s"]), static=True)
    stream.log("speed/ego", rr.SeriesLines(colors=[SKY], names=["speed, m/s"]), static=True)
    stream.log("speed/limit", rr.SeriesLines(colors=[(213, 60, 50)], names=["limit, m/s"]), static=True)


def _ticks(rr: Any, stream: Any, reader: EpisodeReader) -> None:
    """Numbers as whole columns; boxes tick by tick."""
    columns = reader.ticks
    series = {
        "ttc/s": np.minimum(columns["ttc_s"], TTC_TOP_S),
        "speed/ego": columns["speed_mps"],
        "speed/limit": columns["speed_limit_mps"],
    }
    for who in ("executed", "policy", "driver"):
        for what in ("steer", "throttle", "brake"):
            series[f"control/{who}/{what}"] = columns[f"{who}_{what}"]
    for state in BANDS:
        series[f"authority/{state.value}"] = np.where(
            columns["handover_state"] == state.value, float(BANDS.index(state)), np.nan
        )
    for entity, values in series.items():
        known = ~np.isnan(values)
        if known.any():
            index = [
                rr.TimeColumn(TIMELINE, duration=columns["time_s"][known]),
                rr.TimeColumn(TICKS, sequence=columns["tick"][known]),
            ]
            stream.send_columns(entity, indexes=index, columns=rr.Scalars.columns(scalars=values[known]))
    for tick in columns["tick"].tolist():
        _set_time(stream, reader, tick)
        ego = reader.ego(tick)
        stream.log("world/ego", _boxes(rr, [_pose(ego)], [EGO_SIZE_M], [(33, 90, 160)], ["ego"]))
        agents = reader.agents_at(tick)
        if agents:
            stream.log(
                "world/agents",
                _boxes(
                    rr,
                    [(a.x_m, a.y_m, a.yaw_rad) for a in agents],
                    [(a.length_m, a.width_m, HEIGHTS_M[a.kind]) for a in agents],
                    [KIND_COLOURS[a.kind] for a in agents],
                    [a.name or a.kind.value for a in agents],
                ),
            )


def _plans(rr: Any, stream: Any, reader: EpisodeReader) -> None:
    cameras = reader.meta.cameras
    for row in reader.plans:
        _set_time(stream, reader, row.plan.tick)
        colour = SKY if not row.plan.shadow else (120, 150, 170)
        name = "shadow" if row.plan.shadow else "issued"
        other = "issued" if row.plan.shadow else "shadow"
        points = _lifted(_into_world(row), 0.15)
        stream.log(f"world/plan/{name}", rr.LineStrips3D([points], colors=[colour], radii=[0.25]))
        stream.log(f"world/plan/{other}", rr.Clear(recursive=False))
        for camera in cameras:
            pixels = ribbon(row.plan.waypoints_m, camera)
            entity = f"camera/{camera.name}/plan"
            if pixels is None:
                stream.log(entity, rr.Clear(recursive=False))
            else:
                outline = np.concatenate([pixels[:, 0], pixels[::-1, 1]])
                stream.log(entity, rr.LineStrips2D([outline], colors=[colour]))
        if row.plan.text:
            stream.log("events/reasoning", rr.TextLog(row.plan.text, level="DEBUG"))


def _frames(rr: Any, stream: Any, reader: EpisodeReader) -> None:
    """The stored JPEGs as they are."""
    for place in reader.frames():
        _set_time(stream, reader, place.tick)
        with (reader.path / place.file).open("rb") as file:
            file.seek(place.offset)
            jpeg = file.read(place.length)
        camera = reader.meta.cameras[place.camera].name
        stream.log(f"camera/{camera}", rr.EncodedImage(contents=jpeg, media_type="image/jpeg"))


def _events(rr: Any, stream: Any, reader: EpisodeReader) -> None:
    for event in reader.events:
        _set_time(stream, reader, event.tick)
        detail = " ".join(f"{key}={value}" for key, value in event.data.items())
        level = "WARN" if event.kind in ("takeover", "infraction") else "INFO"
        stream.log("events/log", rr.TextLog(f"{event.kind} {detail}".strip(), level=level))


def _set_time(stream: Any, reader: EpisodeReader, tick: int) -> None:
    stream.set_time(TIMELINE, duration=float(reader.ticks["time_s"][reader.row(tick)]))
    stream.set_time(TICKS, sequence=tick)


def _boxes(
    rr: Any,
    poses: list[tuple[float, float, float]],
    sizes_m: list[tuple[float, float, float]],
    colours: list[tuple[int, int, int]],
    names: list[str],
) -> Any:
    return rr.Boxes3D(
        centers=[(x, y, 0.5 * size[2]) for (x, y, _), size in zip(poses, sizes_m, strict=True)],
        half_sizes=0.5 * np.array(sizes_m),
        quaternions=[
            rr.Quaternion(xyzw=(0.0, 0.0, math.sin(yaw / 2), math.cos(yaw / 2))) for _, _, yaw in poses
        ],
        colors=colours,
        labels=names,
        fill_mode="solid",
        show_labels=False,
    )


def _pose(ego: EgoState) -> tuple[float, float, float]:
    return ego.x_m, ego.y_m, ego.yaw_rad


def _into_world(row: PlanRow) -> NDArray[np.float64]:
    """(N + 1, 2): the ego, then its waypoints."""
    cos, sin = math.cos(row.pose.yaw_rad), math.sin(row.pose.yaw_rad)
    points = np.concatenate([[(0.0, 0.0)], np.asarray(row.plan.waypoints_m, np.float64)])
    turned = points @ np.array([[cos, sin], [-sin, cos]])
    return turned + np.array([row.pose.x_m, row.pose.y_m])


def _lifted(points_m: NDArray[np.float64], z_m: float) -> NDArray[np.float64]:
    return np.concatenate([points_m, np.full((len(points_m), 1), z_m)], axis=1)


def _rerun() -> tuple[Any, Any]:
    try:
        import rerun
        import rerun.blueprint
    except ImportError as error:
        raise UsageError(
            "a Rerun recording needs rerun-sdk", fix="pip install 'takeover-loop[viz]'"
        ) from error
    return rerun, rerun.blueprint
