"""`loop driver forget`: from a name to an empty place."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ...errors import UsageError
from ...store import history
from ...store.database import Store
from ...store.forget import Forgotten, forget
from ...store.ingest import TOMBSTONES
from .drivers import DriverBook


@dataclass(frozen=True, slots=True)
class Report:
    """What was removed, and where it lives on.

    Attributes:
        driver_id: The pseudonym.
        episodes: Drives removed.
        trained: Generations trained on some of them.
        derived: Generations refined from those.
        champion: The generation that drives now; None for none.
        pages: Report pages removed because they showed the driver's drives.
    """

    driver_id: str
    episodes: int
    trained: tuple[int, ...]
    derived: tuple[int, ...]
    champion: int | None
    pages: int = 0

    def text(self) -> str:
        """For the terminal."""
        lines = [f"{self.driver_id}: {self.episodes} drives removed from disk, index and journal"]
        if self.pages:
            lines[0] += (
                f"; {self.pages} pages of `loop report` that showed them, too; the command writes new ones"
            )
        touched = {*self.trained, *self.derived}
        if not touched:
            return f"{lines[0]}; no generation learnt from them"
        lines.append(f"generations trained on them: {', '.join(map(str, self.trained))}")
        if self.derived:
            lines.append(f"generations refined from those: {', '.join(map(str, self.derived))}")
        if self.champion in touched:
            lines.append(
                f"the champion is one of them: generation {self.champion}; `loop rollback` or `loop promote` changes that"
            )
        lines.append("exports and copies made outside this home are not reached")
        return "\n".join(lines)


def forget_driver(home: Path, name: str) -> Report:
    """Remove a driver's data, then the name. After a kill the same call goes on.

    Args:
        home: The home folder.
        name: The driver's name, or the pseudonym.

    Raises:
        UsageError: Nobody of this name has driven here.
    """
    book = DriverBook(home)
    known = next((driver for driver in book.all() if name in (driver.name, driver.pseudonym)), None)
    pseudonym = known.pseudonym if known is not None else name
    if known is None and not (home / TOMBSTONES / f"{name}.json").is_file():
        names = ", ".join(driver.name for driver in book.all()) or "none"
        raise UsageError(f"no driver `{name}` in {home}", fix=f"known drivers: {names}")
    store = Store(home)
    found: Forgotten = forget(store, pseudonym)
    pages = _remove_pages(home, pseudonym)
    if known is not None:
        book.remove(known.name)
    return Report(
        found.driver_id, found.episodes, found.trained, found.derived, history.champion(store), pages
    )


def _remove_pages(home: Path, pseudonym: str) -> int:
    """Remove the pages of `loop report` that name a driver: those of this home, and MLflow's copies in it."""
    pages = [*home.glob("*.html"), *(home / "mlartifacts").rglob("*.html")]
    named = [path for path in pages if pseudonym in path.read_text(encoding="utf-8", errors="ignore")]
    for path in named:
        path.unlink()
    return len(named)
