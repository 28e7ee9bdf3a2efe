"""Which drives exist and what each may be used for.

The role of a case is a function of its seed and type alone (proof.md 1): trained types are split by seed range, unseen
types belong to the final role whatever their seed. Suites are deterministic lists: the first k cases of a longer suite
are the suite of length k, and every prefix is balanced over the types.
"""

from __future__ import annotations

from ...errors import RoleError, UsageError
from ...vocabulary import Case, Role

NOMINAL_TYPES: tuple[str, ...] = ("LaneFollowing", "CarFollowing", "JunctionTurn")
STEERING_TYPES: tuple[str, ...] = (
    "ParkedObstacle",
    "ParkedObstacleTwoWays",
    "ConstructionObstacle",
    "MergerIntoSlowTraffic",
)
BRAKING_TYPES: tuple[str, ...] = (
    "DynamicObjectCrossing",
    "HardBreakRoute",
    "StaticCutIn",
    "PedestrianCrossing",
    "OppositeVehicleRunningRedLight",
    "VehicleTurningRoutePedestrian",
)
TRAINED_TYPES: tuple[str, ...] = (
    "DynamicObjectCrossing",
    "ParkedObstacle",
    "HardBreakRoute",
    "ParkedObstacleTwoWays",
    "StaticCutIn",
    "ConstructionObstacle",
    "PedestrianCrossing",
    "MergerIntoSlowTraffic",
    "OppositeVehicleRunningRedLight",
    "VehicleTurningRoutePedestrian",
)
UNSEEN_TYPES: tuple[str, ...] = ("ParkingCrossingPedestrian", "AccidentTwoWays")
ALL_TYPES: tuple[str, ...] = NOMINAL_TYPES + TRAINED_TYPES + UNSEEN_TYPES

SEEDS: dict[Role, range] = {
    Role.TRAIN: range(0, 10_000),
    Role.GATE: range(10_000, 20_000),
    Role.FINAL: range(20_000, 30_000),
}
DECOY_EVERY = 5  # one case in five of a long-tail suite is a decoy twin; the share is the same for every type

_SUITES: dict[str, tuple[tuple[str, ...], Role]] = {
    "train": (TRAINED_TYPES, Role.TRAIN),
    "train_nominal": (NOMINAL_TYPES, Role.TRAIN),
    "longtail": (TRAINED_TYPES, Role.GATE),
    "nominal": (NOMINAL_TYPES, Role.GATE),
    "final": (TRAINED_TYPES, Role.FINAL),
    "final_nominal": (NOMINAL_TYPES, Role.FINAL),
    "unseen": (UNSEEN_TYPES, Role.FINAL),
}
SUITES: tuple[str, ...] = tuple(_SUITES)


def role_of(case: Case) -> Role:
    """Role of a case.

    Args:
        case: The drive.

    Returns:
        Its role; `Role.FINAL` for every case of an unseen type.

    Raises:
        UsageError: The type is unknown or the seed is in no range.
    """
    _check_type(case.scenario)
    if case.scenario in UNSEEN_TYPES:
        return Role.FINAL
    for role, seeds in SEEDS.items():
        if case.seed in seeds:
            return role
    last = SEEDS[Role.FINAL].stop - 1
    raise UsageError(f"seed {case.seed} of {case.scenario} has no role", fix=f"use a seed from 0 to {last}")


def require_role(case: Case, role: Role) -> None:
    """Refuses a case of another role, for every place that trains or decides.

    Raises:
        RoleError: The case has another role.
    """
    found = role_of(case)
    if found is not role:
        raise RoleError(
            f"{case.case_id} has role {found}, not {role}",
            fix=f"use seeds of the {role} range: {SEEDS[role]}",
        )


def parse_case(case_id: str) -> Case:
    """Inverse of `Case.case_id`.

    Raises:
        UsageError: The text is not `Type/seed` or `Type.decoy/seed` with a known type.
    """
    name, _, seed = case_id.partition("/")
    scenario, _, suffix = name.partition(".")
    if not seed.isdigit() or suffix not in ("", "decoy"):
        raise UsageError(f"'{case_id}' is not a case id", fix="write Type/seed or Type.decoy/seed")
    _check_type(scenario)
    return Case(scenario, int(seed), suffix == "decoy")


def suite(name: str, n: int, start: int | None = None) -> list[Case]:
    """First `n` cases of a suite: types in turn, seeds counted up, every fifth round of a type a decoy.

    Args:
        name: One of `SUITES`.
        n: Number of cases.
        start: First seed; None means the first of the role's range.

    Returns:
        `n` cases with distinct seeds of one role.

    Raises:
        UsageError: Unknown name, or seeds that leave the role's range.
    """
    if name not in _SUITES:
        raise UsageError(f"unknown suite '{name}'", fix=f"use one of {', '.join(SUITES)}")
    types, role = _SUITES[name]
    seeds = SEEDS[role]
    first = seeds.start if start is None else start
    if n < 0 or (n > 0 and (first not in seeds or first + n - 1 not in seeds)):
        raise UsageError(f"{n} cases from seed {first} leave the {role} range", fix=f"stay within {seeds}")
    nominal = types is NOMINAL_TYPES
    cases = []
    for k in range(n):
        turn, slot = divmod(k, len(types))
        decoy = not nominal and (turn + slot) % DECOY_EVERY == DECOY_EVERY - 1
        cases.append(Case(types[slot], first + k, decoy))
    return cases


def _check_type(scenario: str) -> None:
    if scenario not in ALL_TYPES:
        raise UsageError(f"unknown scenario type '{scenario}'", fix=f"use one of {', '.join(ALL_TYPES)}")
