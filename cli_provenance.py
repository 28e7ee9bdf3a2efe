"""The commands `loop why` and `loop trace`: from a generation to its takeovers, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .cli_groups import Home, Json, print_json


def why(
    generation: Annotated[str, typer.Argument(help="Number, or champion.")],
    home: Home = Path(),
    as_json: Json = False,
) -> None:
    """Show what made a generation: parents, data, drivers, stages, the gate's evidence; checked by hashes.

    A failed check ends with its exit code: 9 what MLflow has (version, files, origin, dataset), 3 the list of data or
    the gate, 5 drives.

    Examples:
      loop why 4
      loop why champion --json
    """
    from .evaluate.provenance import failed_code
    from .evaluate.provenance import why as found_by
    from .provenance_view import why_view

    found = found_by(home, generation)
    print_json(found) if as_json else why_view(found)
    raise typer.Exit(failed_code(found))


def trace(
    takeover: Annotated[
        str,
        typer.Argument(help="Id, or enough of its beginning: loop sql 'SELECT takeover_id FROM takeovers'."),
    ],
    home: Home = Path(),
    as_json: Json = False,
) -> None:
    """Show what became of a takeover: its pairs, the generations it shaped, and how they do in its kind of scene.

    Examples:
      loop trace 3f2a
      loop trace 3f2a/1 --json
    """
    from .provenance_view import trace_view
    from .store import provenance
    from .store.database import Store
    from .store.story import story

    store = Store(home)
    found = provenance.became_of(store, provenance.takeover_named(store, takeover))
    said = story(found)
    print_json({**found, "story": said}) if as_json else trace_view(found, said)
