"""What one generation came to: the facts behind its page, beside those of the champion that it was made from."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from ..config import LoopConfig
from ..store import history
from ..store.database import Store
from .caution_ledger import CautionRow
from .closed_loop import CaseResult
from .forgetting import Cell, Transfer
from .provenance import why
from .results import all_results
from .run_facts import GenerationRow, RunFacts, TypeRow, gate_results, type_rows


@dataclass(frozen=True, slots=True)
class CasePair:
    """One gate case: what the generation did, and what its parent had done; None where one has not driven it."""

    case_id: str
    after: CaseResult
    before: CaseResult | None

    @property
    def change(self) -> str:
        """gained, lost, or ""."""
        if self.before is None or self.before.success == self.after.success:
            return ""
        return "gained" if self.after.success else "lost"


@dataclass(frozen=True, slots=True)
class GenerationFacts:
    """Everything that the page of a generation shows, apart from its pictures.

    Attributes:
        made: Of `provenance.why`: parents, data, drivers, stages, the gate's evidence, the checks by hashes.
        champion: Whether it has the car now.
        row: Its line of the run's table; None before it has driven.
        ledger: Its line of the ledger; None likewise.
        parent: The champion that it was made from; None for generation 0.
        types: Success by scenario type, its own and its parent's.
        cases: Gate cases in the order of the suites, long tail first.
        cells: Its row of the triangle; empty without one.
        transfer: What it kept of earlier rounds; None likewise.
        takeovers: Those of the round in which it was made: what is new in its data.
    """

    made: dict[str, Any]
    champion: bool
    row: GenerationRow | None
    ledger: CautionRow | None
    parent: int | None
    types: tuple[TypeRow, ...]
    cases: tuple[CasePair, ...]
    cells: tuple[Cell, ...]
    transfer: Transfer | None
    takeovers: tuple[dict[str, Any], ...]

    @property
    def generation(self) -> int:
        """Its number."""
        return int(self.made["generation"])

    def as_dict(self) -> dict[str, Any]:
        """Plain values for `--json`; the list of its training data is left to `loop why --json`."""
        data = {key: value for key, value in self.made["data"].items() if key != "items"}
        plain = {**asdict(self), "made": {**self.made, "data": data}, "generation": self.generation}
        found: dict[str, Any] = json.loads(json.dumps(plain, default=str))
        return found


def generation_facts(store: Store, number: int, run: RunFacts, config: LoopConfig) -> GenerationFacts:
    """Read a generation back, and check it by hashes.

    Args:
        store: The index.
        number: The generation.
        run: Facts of the run that made it.
        config: Sizes of the gate's suites, and with which decoder generations drove.

    Raises:
        UsageError: There is no such generation.
    """
    generation = history.generation(store, number)
    known = all_results(store)
    parent = None if generation["parent"] is None else int(generation["parent"])
    setting = config.policy.setting
    own = gate_results(known, f"{generation['sha256']}{setting}", config.gate)
    old: tuple[list[CaseResult], list[CaseResult]] = [], []
    if parent is not None:
        key = f"{history.generation(store, parent)['sha256']}{setting}"
        old = gate_results(known, key, config.gate)
    before = {result.case: result for part in old for result in part}
    both = {number: [*own[0], *own[1]]} | ({} if parent is None else {parent: list(before.values())})
    table = run.triangle
    return GenerationFacts(
        made=why(store.home, str(number)),
        champion=number == run.champion,
        row=next((row for row in run.rows if row.generation == number), None),
        ledger=next((row for row in run.ledger if row.generation == number), None),
        parent=parent,
        types=type_rows(both),
        cases=tuple(CasePair(r.case.case_id, r, before.get(r.case)) for part in own for r in part),
        cells=() if table is None else tuple(c for c in table.cells if c.generation == number),
        transfer=None
        if table is None
        else next((t for t in table.transfers if t.generation == number), None),
        takeovers=tuple(one for one in run.takeovers if one["round"] == generation["round"]),
    )
