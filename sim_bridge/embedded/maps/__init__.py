"""The OpenDRIVE towns of the embedded server, as package data, and the reading of a user's own map file."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from ....errors import UsageError


def map_names() -> tuple[str, ...]:
    """Names of the towns that are shipped, in alphabetical order."""
    files = resources.files(__name__).iterdir()
    return tuple(sorted(f.name.removesuffix(".xodr") for f in files if f.name.endswith(".xodr")))


def load_xodr(name: str) -> str:
    """OpenDRIVE text of a shipped town, or of a file.

    Args:
        name: A town name (`TownCurves`; `Carla/Maps/TownCurves` also works) or the path of an `.xodr` file.

    Raises:
        UsageError: No such town and no such file.
    """
    if name.endswith(".xodr"):
        path = Path(name)
        if not path.is_file():
            raise UsageError(
                f"map file {name} does not exist", fix="give the path of an OpenDRIVE .xodr file"
            )
        return path.read_text(encoding="utf-8")
    town = name.rsplit("/", 1)[-1]
    if town not in map_names():
        raise UsageError(f"unknown map {name!r}", fix=f"use one of {', '.join(map_names())} or an .xodr path")
    return resources.files(__name__).joinpath(f"{town}.xodr").read_text(encoding="utf-8")


def map_display_name(name: str) -> str:
    """Short name of a map given by town name or path, as `carla.Map.name` shows it."""
    return Path(name).name.removesuffix(".xodr")
