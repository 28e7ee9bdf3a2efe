"""Who has the car: the registry's aliases on one side, our own log of promotions with its evidence on the other."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..errors import InconclusiveError, RegistryError, UsageError
from ..store import history
from ..store.database import Store
from ..store.rows import PromotionRow

if TYPE_CHECKING:
    from ..collect.cockpit.sitting import Car
    from ..config import PolicyConfig
    from ..models.policy import Policy
    from ..models.registry import Registry


class Champions:
    """Champion, challenger and previous of one home.

    Args:
        store: Holds the log.
        registry: Gives the registry; made at the first use (seconds).
        driver: Decoder that drives, and what the heads read.
    """

    def __init__(self, store: Store, registry: Callable[[], Registry], driver: PolicyConfig) -> None:
        self._store = store
        self._registry = registry
        self._driver = driver
        self._loaded: tuple[int, Policy] | None = None

    def current(self, say: Callable[[str], None]) -> int:
        """Generation behind the wheel. An alias moved outside our commands is verified and recorded, or refused.

        Args:
            say: Told of such a move.

        Raises:
            RegistryError: There is none, or the one that the alias names cannot be used.
        """
        last = history.champion(self._store)
        found = self._registry().champion(None if last is None else self.version_of(last))
        if found.generation is None:
            raise RegistryError("the champion has no generation number", fix="promote one of `loop status`")
        if found.external:
            say(f"the champion alias was moved outside `loop`: it is generation {found.generation}, verified")
            evidence = {"reason": "alias moved outside loop; hashes and canary passed"}
            self.log(last, found.generation, "promote", evidence, external=True)
        return found.generation

    def promote(
        self, generation: int, old: int | None, evidence: dict[str, Any], run_id: str = "", number: int = 0
    ) -> None:
        """Move the alias after hash check and canary, then log it."""
        self._registry().promote(self.version_of(generation))
        self.log(old, generation, "promote", evidence, run_id, number)

    def promote_by_hand(self, model: str, *, force: bool) -> int:
        """Make a generation champion; needs its gate's word unless forced.

        Args:
            model: Generation number, alias or `models:/` URI.
            force: Promote in any case; recorded as such.

        Raises:
            InconclusiveError: Its gate did not promote it.
        """
        found = self._registry().resolve(model)
        if found.generation is None:
            raise UsageError(f"{model!r} is no registered generation", fix="see `loop status`")
        gate = history.generation(self._store, found.generation)["gate"]
        if gate not in ("promote", "start") and not force:
            raise InconclusiveError(
                f"the gate of generation {found.generation} says {gate or 'nothing yet'}",
                fix="run another round, or use --force, which is recorded",
            )
        reason = f"promoted by hand{', forced' if force else ''}; its gate said {gate or 'nothing'}"
        self.promote(found.generation, history.champion(self._store), {"reason": reason})
        return found.generation

    def rollback(self) -> tuple[int | None, int]:
        """The previous champion drives again; the present one is quarantined.

        Returns:
            Generation that goes, generation that comes back.
        """
        old = history.champion(self._store)
        found = self._registry().rollback(reason="rolled back by hand")
        if found.generation is None:
            raise RegistryError("the previous champion has no generation number", fix="see `loop status`")
        self.log(old, found.generation, "rollback", {"reason": "rolled back by hand"})
        return old, found.generation

    def log(
        self,
        old: int | None,
        new: int,
        outcome: str,
        evidence: dict[str, Any],
        run_id: str = "",
        number: int = 0,
        *,
        external: bool = False,
    ) -> None:
        """A row of our own log; a repeated step of a run writes the same row."""
        name = f"{run_id}/{number}/{old}/{new}/{outcome}" if run_id else str(uuid.uuid4())
        self._store.put([PromotionRow(name, old, new, outcome, external, evidence, run_id, number)])

    def version_of(self, generation: int) -> int:
        """Registered version of a generation."""
        return int(history.generation(self._store, generation)["version"])

    def car(self, model: str, say: Callable[[str], None]) -> Car:
        """A generation as the cockpit takes it.

        Args:
            model: Generation number, alias or `models:/` URI; the champion is looked up as the loop does.
            say: Told of an alias that was moved outside our commands.
        """
        from ..collect.cockpit.sitting import Car

        if model in ("champion", "models:/driver@champion"):
            model = str(self.current(say))
        found = self._registry().resolve(model)
        name = found.path.name if found.generation is None else str(found.generation)
        return Car(name, found.path, found.sha256)

    def policy(self, generation: int, *, fresh: bool = False) -> Policy:
        """A generation's policy from the registry, verified; kept while it is the last one asked for.

        Args:
            generation: Its number.
            fresh: A copy of its own, to be trained.
        """
        from ..models.policy import Policy

        if not fresh and self._loaded is not None and self._loaded[0] == generation:
            return self._loaded[1]
        found = self._registry().verify(self.version_of(generation))
        driver = self._driver
        policy = Policy.load(found.path, driver.decoder, context=driver.context, flow=driver.flow)
        if not fresh:
            self._loaded = generation, policy
        return policy
