"""What a scenario spawns and moves actors with, in the house frame; commands go out in one call per tick."""

from __future__ import annotations

from dataclasses import dataclass

import carla

from ..errors import SimulatorError
from ..vocabulary import ActorKind, Agent, Control
from . import convert
from .bridge import ROLE_PREFIX, Bridge
from .lights import RouteLight
from .routes import Route


@dataclass(frozen=True, slots=True)
class Body:
    """An actor as `Drive` reports it every tick.

    Attributes:
        actor_id: CARLA's id.
        name: Its part in the scenario.
        kind: Coarse class.
        length_m: Of its box.
        width_m: Of its box.
        forward_m: Box centre ahead of the actor's origin.
        left_m: Box centre to the left of the actor's origin.
    """

    actor_id: int
    name: str
    kind: ActorKind
    length_m: float
    width_m: float
    forward_m: float
    left_m: float

    def seen(self, snapshot: carla.ActorSnapshot) -> Agent:
        """This body at one tick."""
        return self.agent(snapshot.get_transform(), snapshot.get_velocity())

    def agent(self, where: carla.Transform, velocity: carla.Vector3D) -> Agent:
        """This body at a pose and velocity in CARLA's frame."""
        x_m, y_m, yaw_rad = convert.pose(where)
        vx_mps, vy_mps = convert.vector(velocity)
        ahead = where.get_forward_vector()
        cos, sin = convert.vector(ahead)
        x_m += self.forward_m * cos - self.left_m * sin
        y_m += self.forward_m * sin + self.left_m * cos
        speed_mps = (vx_mps * vx_mps + vy_mps * vy_mps) ** 0.5
        if self.kind is not ActorKind.WALKER and vx_mps * cos + vy_mps * sin < 0.0:
            speed_mps = -speed_mps
        return Agent(
            self.actor_id, self.kind, x_m, y_m, yaw_rad, speed_mps, self.length_m, self.width_m,
            self.name, vx_mps, vy_mps,
        )  # fmt: skip


def body_of(actor: carla.Actor, name: str) -> Body:
    """Box and class of an actor."""
    box = actor.bounding_box
    forward_m, left_m = convert.vector(box.location)
    kind = ActorKind.STATIC
    if actor.type_id.startswith("walker."):
        kind = ActorKind.WALKER
    elif actor.type_id.startswith("vehicle."):
        two_wheels = actor.attributes.get("number_of_wheels") == "2"
        kind = ActorKind.CYCLIST if two_wheels else ActorKind.VEHICLE
    return Body(actor.id, name, kind, 2.0 * box.extent.x, 2.0 * box.extent.y, forward_m, left_m)


class Stage:
    """A scenario's hands in the world, for one episode.

    Args:
        bridge: The server.
        route: The ego's route.
        lights: Traffic lights of the route.
        ego_id: The ego's actor id.

    Attributes:
        route: The ego's route.
        bodies: Actors spawned so far, by id, in that order.
        critical_id: The actor that the scenario is about; 0 for none.
    """

    def __init__(self, bridge: Bridge, route: Route, lights: tuple[RouteLight, ...], ego_id: int) -> None:
        self.route = route
        self.lights = lights
        self.ego_id = ego_id
        self.bodies: dict[int, Body] = {}
        self.critical_id = 0
        self._bridge = bridge
        self._commands: list[carla.command] = []
        self._sent: dict[int, tuple[object, ...]] = {}

    @property
    def carla_map(self) -> carla.Map:
        """Map of the world, in CARLA's frame."""
        return self._bridge.carla_map

    def spawn(
        self,
        blueprint: str,
        name: str,
        x_m: float,
        y_m: float,
        yaw_rad: float,
        *,
        critical: bool = False,
        z_m: float = 0.0,
        **attributes: str,
    ) -> int:
        """Spawns an actor.

        Args:
            blueprint: Blueprint id.
            name: Its part in the scenario; becomes `Agent.name`.
            x_m: World.
            y_m: World.
            yaw_rad: World.
            critical: The scenario is about this one.
            z_m: Height above the road.
            **attributes: Blueprint attributes, such as `color="200,30,30"`.

        Returns:
            Its actor id.

        Raises:
            SimulatorError: The place is taken.
        """
        height_m = self.route.height_m + z_m
        actor = self._bridge.place(blueprint, x_m, y_m, yaw_rad, height_m, ROLE_PREFIX, **attributes)
        if actor is None:
            raise SimulatorError(
                f"no room for {name} ({blueprint}) at ({x_m:.1f}, {y_m:.1f})",
                fix="report the case: its scenario puts two actors in one place",
            )
        self.bodies[actor.id] = body_of(actor, name)
        if critical:
            self.critical_id = actor.id
        return int(actor.id)

    def vehicle(self, actor_id: int, control: Control, *, hand_brake: bool = False) -> None:
        """Drives a vehicle; the control holds until the next one."""
        body = convert.vehicle_control(control, hand_brake=hand_brake)
        self._add(actor_id, (control, hand_brake), carla.command.ApplyVehicleControl(actor_id, body))

    def walker(self, actor_id: int, yaw_rad: float, speed_mps: float) -> None:
        """Lets a walker walk towards a direction; holds until the next one."""
        x, y = convert.heading_vector(yaw_rad)
        body = carla.WalkerControl(direction=convert.to_vector(x, y), speed=speed_mps)
        self._add(actor_id, (yaw_rad, speed_mps), carla.command.ApplyWalkerControl(actor_id, body))

    def velocity(self, actor_id: int, vx_mps: float, vy_mps: float) -> None:
        """Sets the velocity of an actor."""
        self._commands.append(carla.command.ApplyTargetVelocity(actor_id, convert.to_vector(vx_mps, vy_mps)))

    def move(self, actor_id: int, x_m: float, y_m: float, yaw_rad: float, z_m: float = 0.0) -> None:
        """Puts an actor somewhere."""
        where = convert.transform(x_m, y_m, yaw_rad, z_m)
        self._commands.append(carla.command.ApplyTransform(actor_id, where))

    def vehicle_lights(self, actor_id: int, state: carla.VehicleLightState) -> None:
        """Sets a vehicle's lights (brake lights follow the brake by themselves)."""
        self._add(-actor_id, (int(state),), carla.command.SetVehicleLightState(actor_id, state))

    def freeze_lights(self, state: str) -> None:
        """Freezes the traffic lights, those on the route at `state`: "red", "yellow" or "green"."""
        wanted = carla.TrafficLightState.names[state.capitalize()]
        for light in self.lights:
            light.actor.set_state(wanted)
            light.actor.freeze(True)

    def _add(self, key: int, value: tuple[object, ...], command: carla.command) -> None:
        if self._sent.get(key) != value:
            self._sent[key] = value
            self._commands.append(command)

    def take(self) -> list[carla.command]:
        """Commands since the last call; the caller sends them."""
        commands, self._commands = self._commands, []
        return commands
