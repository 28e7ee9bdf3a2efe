"""Calls every method of the carla client once, as a script would; prints `Class.method<TAB>what it met`, "" for nothing.

`python -P every_call.py HOST PORT`, against a server of its own. A process of its own, too: the client library may end it.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from typing import Any

import carla

CLASSES = (
    "Client", "World", "Actor", "Vehicle", "Walker", "WalkerAIController", "TrafficLight", "TrafficSign", "Sensor",
    "ServerSideSensor", "DebugHelper", "LightManager", "command",
)  # fmt: skip
WORLDS = ("load_world", "load_world_if_different", "generate_opendrive_world", "reload_world")
FAR = carla.Location(0.0, 0.0, 10.0)
PUSH = carla.Vector3D(1.0, 0.0, 0.0)


def methods() -> list[str]:
    """Every public method and property that the wheel binds, `Class.method`."""
    found = []
    for kind in CLASSES:
        names = vars(getattr(carla, kind))
        found += [
            f"{kind}.{name}"
            for name in names
            if not name.startswith("_") and name not in ("FutureActor", "Response")
        ]
    return sorted(
        set(found), key=lambda name: (name.endswith(WORLDS), name)
    )  # new worlds last: they end all actors


class Stage:
    """A world with one of each kind of actor.

    Args:
        client: Connected.
        folder: For files, which client and server keep there.
    """

    def __init__(self, client: carla.Client, folder: str) -> None:
        self.client, self.folder = client, folder
        self.file = os.path.join(self.folder, "record.log")
        client.start_recorder(self.file)
        client.stop_recorder()
        self.manager = client.get_trafficmanager(22000 + os.getpid() % 7000)
        self.manager.set_synchronous_mode(True)
        self.world = self.client.get_world()
        self.world.apply_settings(carla.WorldSettings(synchronous_mode=True, fixed_delta_seconds=0.05))
        library, points = self.world.get_blueprint_library(), self.world.get_map().get_spawn_points()
        self.place = points[30]
        self.blueprint = library.find("vehicle.audi.tt")
        self.car = self.world.spawn_actor(library.find("vehicle.lincoln.mkz_2020"), points[0])
        self.walker = self.world.spawn_actor(library.find("walker.pedestrian.0001"), points[20])
        self.controller = self.world.spawn_actor(
            library.find("controller.ai.walker"), carla.Transform(), self.walker
        )
        self.camera = self.world.spawn_actor(library.find("sensor.camera.rgb"), carla.Transform(), self.car)
        self.world.tick()
        self.light = self.world.get_actors().filter("traffic.traffic_light")[0]

    def wait_for_tick(self) -> None:
        """Only in the asynchronous world does anyone else tick."""
        self.world.apply_settings(carla.WorldSettings(synchronous_mode=False))
        self.world.wait_for_tick(2.0)
        self.world.apply_settings(carla.WorldSettings(synchronous_mode=True, fixed_delta_seconds=0.05))

    def owner(self, kind: str) -> Any:
        """What a class's methods are called on."""
        if kind == "WalkerAIController":
            return self.world.spawn_actor(
                self.world.get_blueprint_library().find("controller.ai.walker"),
                carla.Transform(),
                self.walker,
            )
        return {
            "Client": self.client, "World": self.world, "Actor": self.car, "Vehicle": self.car, "Walker": self.walker,
            "TrafficLight": self.light, "TrafficSign": self.light, "Sensor": self.camera,
            "ServerSideSensor": self.camera, "DebugHelper": self.world.debug,
            "LightManager": self.world.get_lightmanager(), "WalkerAIController": self.controller,
        }[kind]  # fmt: skip

    def call(self, method: str) -> None:
        """Calls a method and waits until the server has seen it; raises what a script would meet."""
        if method.endswith(WORLDS):
            self.manager.shut_down()  # it would go on in the world that is gone, and end the process
        explicit = self.arguments().get(method)
        if explicit is not None:
            explicit()
        else:
            kind, name = method.split(".")
            found = getattr(self.owner(kind), name)
            if callable(found):
                found()
        self.client.get_server_version()

    def arguments(self) -> dict[str, Callable[[], Any]]:
        """What needs more than its name."""
        client, world, car, walker, light, camera = (
            self.client, self.world, self.car, self.walker, self.light, self.camera,
        )  # fmt: skip
        town, command, door, wheel = (
            world.get_map(),
            carla.command,
            carla.VehicleDoor.FL,
            carla.VehicleWheelLocation.FL_Wheel,
        )
        lamps = world.get_lightmanager()
        every = lamps.get_all_lights()
        colour, floats = carla.TextureColor(2, 2), carla.TextureFloatColor(2, 2)
        diffuse, normal = carla.MaterialParameter.Diffuse, carla.MaterialParameter.Normal
        buffer = carla.GBufferTextureID.SceneColor
        junction = next(pair[1].junction_id for pair in town.get_topology() if pair[1].is_junction)
        cross = town.get_all_landmarks_of_type("1000001")[0]

        def batch(*commands: Any) -> None:
            for answer in client.apply_batch_sync(list(commands), False):
                if answer.error:
                    raise RuntimeError(answer.error)

        def gone() -> carla.Actor:
            actor = world.spawn_actor(self.blueprint, self.place)
            world.tick()  # before it, the client takes the actor for dead
            return actor

        return {
            "Client.set_timeout": lambda: client.set_timeout(5.0),
            "Client.set_files_base_folder": lambda: client.set_files_base_folder(self.folder),
            "Client.request_file": lambda: client.request_file(client.get_required_files("Nav", False)[0]),
            "Client.load_world": lambda: client.load_world("TownCross"),
            "Client.load_world_if_different": lambda: client.load_world_if_different("TownCross"),
            "Client.generate_opendrive_world": lambda: client.generate_opendrive_world(town.to_opendrive()),
            "Client.start_recorder": lambda: client.start_recorder(self.file),
            "Client.show_recorder_file_info": lambda: client.show_recorder_file_info(self.file, False),
            "Client.show_recorder_collisions": lambda: client.show_recorder_collisions(self.file, "a", "a"),
            "Client.show_recorder_actors_blocked": lambda: client.show_recorder_actors_blocked(
                self.file, 1.0, 1.0
            ),
            "Client.replay_file": lambda: client.replay_file(self.file, 0.0, 0.0, 0),
            "Client.stop_replayer": lambda: client.stop_replayer(True),
            "Client.set_replayer_time_factor": lambda: client.set_replayer_time_factor(1.0),
            "Client.set_replayer_ignore_hero": lambda: client.set_replayer_ignore_hero(True),
            "Client.set_replayer_ignore_spectator": lambda: client.set_replayer_ignore_spectator(True),
            "Client.apply_batch": lambda: client.apply_batch([command.ApplyTargetVelocity(car.id, PUSH)]),
            "Client.apply_batch_sync": lambda: batch(command.ApplyTargetVelocity(car.id, PUSH)),
            "Client.get_trafficmanager": lambda: self.manager.get_port(),
            "World.load_map_layer": lambda: world.load_map_layer(carla.MapLayer.Buildings),
            "World.unload_map_layer": lambda: world.unload_map_layer(carla.MapLayer.Buildings),
            "World.apply_settings": lambda: world.apply_settings(world.get_settings()),
            "World.set_weather": lambda: world.set_weather(carla.WeatherParameters.WetNoon),
            "World.set_imui_sensor_gravity": lambda: world.set_imui_sensor_gravity(9.8),
            "World.get_actor": lambda: world.get_actor(car.id),
            "World.spawn_actor": lambda: gone().destroy(),
            "World.try_spawn_actor": lambda: world.try_spawn_actor(self.blueprint, car.get_transform()),
            "World.wait_for_tick": self.wait_for_tick,
            "World.on_tick": lambda: world.remove_on_tick(world.on_tick(lambda _: None)),
            "World.remove_on_tick": lambda: world.remove_on_tick(0),
            "World.set_pedestrians_cross_factor": lambda: world.set_pedestrians_cross_factor(0.1),
            "World.set_pedestrians_seed": lambda: world.set_pedestrians_seed(1),
            "World.get_traffic_sign": lambda: world.get_traffic_sign(cross),
            "World.get_traffic_light": lambda: world.get_traffic_light(cross),
            "World.get_traffic_light_from_opendrive_id": lambda: world.get_traffic_light_from_opendrive_id(
                cross.id
            ),
            "World.get_traffic_lights_from_waypoint": lambda: world.get_traffic_lights_from_waypoint(
                town.get_waypoint(self.place.location), 50.0
            ),
            "World.get_traffic_lights_in_junction": lambda: world.get_traffic_lights_in_junction(junction),
            "World.freeze_all_traffic_lights": lambda: world.freeze_all_traffic_lights(False),
            "World.get_level_bbs": lambda: world.get_level_bbs(carla.CityObjectLabel.Buildings),
            "World.get_environment_objects": lambda: world.get_environment_objects(
                carla.CityObjectLabel.Buildings
            ),
            "World.enable_environment_objects": lambda: world.enable_environment_objects({1}, True),
            "World.cast_ray": lambda: world.cast_ray(FAR, carla.Location(0.0, 0.0, -10.0)),
            "World.project_point": lambda: world.project_point(FAR, carla.Vector3D(0.0, 0.0, -1.0), 20.0),
            "World.ground_projection": lambda: world.ground_projection(FAR, 20.0),
            "World.apply_color_texture_to_object": lambda: world.apply_color_texture_to_object(
                "x", diffuse, colour
            ),
            "World.apply_float_color_texture_to_object": lambda: world.apply_float_color_texture_to_object(
                "x", normal, floats
            ),
            "World.apply_textures_to_object": lambda: world.apply_textures_to_object(
                "x", colour, floats, floats, floats
            ),
            "World.apply_color_texture_to_objects": lambda: world.apply_color_texture_to_objects(
                ["x"], diffuse, colour
            ),
            "World.apply_float_color_texture_to_objects": lambda: world.apply_float_color_texture_to_objects(
                ["x"], normal, floats
            ),
            "World.apply_textures_to_objects": lambda: world.apply_textures_to_objects(
                ["x"], colour, floats, floats, floats
            ),
            "World.set_annotations_traverse_translucency": lambda: (
                world.set_annotations_traverse_translucency(True)
            ),
            "Actor.get_component_world_transform": lambda: car.get_component_world_transform("x"),
            "Actor.get_component_relative_transform": lambda: car.get_component_relative_transform("x"),
            "Actor.set_location": lambda: car.set_location(car.get_location()),
            "Actor.set_transform": lambda: car.set_transform(car.get_transform()),
            "Actor.set_target_velocity": lambda: car.set_target_velocity(PUSH),
            "Actor.set_target_angular_velocity": lambda: car.set_target_angular_velocity(
                carla.Vector3D(0.0, 0.0, 5.0)
            ),
            "Actor.enable_constant_velocity": lambda: car.enable_constant_velocity(PUSH),
            "Actor.add_impulse": lambda: car.add_impulse(PUSH),
            "Actor.add_force": lambda: car.add_force(PUSH),
            "Actor.add_angular_impulse": lambda: car.add_angular_impulse(PUSH),
            "Actor.add_torque": lambda: car.add_torque(PUSH),
            "Actor.set_simulate_physics": lambda: car.set_simulate_physics(True),
            "Actor.set_collisions": lambda: car.set_collisions(True),
            "Actor.set_enable_gravity": lambda: car.set_enable_gravity(True),
            "Actor.destroy": lambda: gone().destroy(),
            "Vehicle.apply_control": lambda: car.apply_control(carla.VehicleControl(throttle=0.1)),
            "Vehicle.apply_ackermann_control": lambda: car.apply_ackermann_control(
                carla.VehicleAckermannControl(speed=1.0)
            ),
            "Vehicle.set_light_state": lambda: car.set_light_state(carla.VehicleLightState.LowBeam),
            "Vehicle.open_door": lambda: car.open_door(door),
            "Vehicle.close_door": lambda: car.close_door(door),
            "Vehicle.set_wheel_steer_direction": lambda: car.set_wheel_steer_direction(wheel, 10.0),
            "Vehicle.get_wheel_steer_angle": lambda: car.get_wheel_steer_angle(wheel),
            "Vehicle.set_wheel_pitch_angle": lambda: car.set_wheel_pitch_angle(wheel, 10.0),
            "Vehicle.get_wheel_pitch_angle": lambda: car.get_wheel_pitch_angle(wheel),
            "Vehicle.apply_physics_control": lambda: car.apply_physics_control(car.get_physics_control()),
            "Vehicle.apply_ackermann_controller_settings": lambda: car.apply_ackermann_controller_settings(
                car.get_ackermann_controller_settings()
            ),
            "Vehicle.set_autopilot": lambda: car.set_autopilot(False, self.manager.get_port()),
            "Vehicle.show_debug_telemetry": lambda: car.show_debug_telemetry(True),
            "Vehicle.enable_carsim": lambda: car.enable_carsim("x"),
            "Vehicle.use_carsim_road": lambda: car.use_carsim_road(True),
            "Vehicle.enable_chrono_physics": lambda: car.enable_chrono_physics(10, 0.01, "a", "b", "c", "d"),
            "Walker.apply_control": lambda: walker.apply_control(carla.WalkerControl(PUSH, 1.0)),
            "Walker.set_bones": lambda: walker.set_bones(carla.WalkerBoneControlIn()),
            "WalkerAIController.go_to_location": lambda: self.controller.go_to_location(FAR),
            "WalkerAIController.set_max_speed": lambda: self.controller.set_max_speed(1.0),
            "Walker.blend_pose": lambda: walker.blend_pose(0.5),
            "TrafficLight.set_state": lambda: light.set_state(carla.TrafficLightState.Red),
            "TrafficLight.set_green_time": lambda: light.set_green_time(5.0),
            "TrafficLight.set_yellow_time": lambda: light.set_yellow_time(5.0),
            "TrafficLight.set_red_time": lambda: light.set_red_time(5.0),
            "TrafficLight.freeze": lambda: light.freeze(False),
            "Sensor.listen": lambda: camera.listen(lambda _: None),
            "ServerSideSensor.enable_gbuffers": lambda: camera.enable_gbuffers(True),
            "ServerSideSensor.set_ignored_vehicles": lambda: camera.set_ignored_vehicles([car.id]),
            "ServerSideSensor.listen_to_gbuffer": lambda: camera.listen_to_gbuffer(buffer, lambda _: None),
            "ServerSideSensor.is_listening_gbuffer": lambda: camera.is_listening_gbuffer(buffer),
            "ServerSideSensor.stop_gbuffer": lambda: camera.stop_gbuffer(buffer),
            "ServerSideSensor.send": lambda: camera.send("hello"),
            **{
                f"DebugHelper.draw_{hud}{shape}": lambda name=f"draw_{hud}{shape}", ends=ends: getattr(
                    world.debug, name
                )(*ends)
                for hud in ("", "hud_")
                for shape, ends in {
                    "point": (FAR,),
                    "line": (FAR, FAR),
                    "arrow": (FAR, FAR),
                    "box": (carla.BoundingBox(FAR, PUSH), carla.Rotation()),
                    "string": (FAR, "x"),
                }.items()
            },
            "LightManager.turn_on": lambda: lamps.turn_on(every),
            "LightManager.turn_off": lambda: lamps.turn_off(every),
            "LightManager.set_active": lambda: lamps.set_active(every, []),
            "LightManager.is_active": lambda: lamps.is_active(every),
            "LightManager.set_color": lambda: lamps.set_color(every, carla.Color()),
            "LightManager.set_colors": lambda: lamps.set_colors(every, []),
            "LightManager.get_color": lambda: lamps.get_color(every),
            "LightManager.set_intensity": lambda: lamps.set_intensity(every, 1.0),
            "LightManager.set_intensities": lambda: lamps.set_intensities(every, []),
            "LightManager.get_intensity": lambda: lamps.get_intensity(every),
            "LightManager.set_light_group": lambda: lamps.set_light_group(every, carla.LightGroup.Street),
            "LightManager.set_light_groups": lambda: lamps.set_light_groups(every, []),
            "LightManager.get_light_group": lambda: lamps.get_light_group(every),
            "LightManager.set_light_state": lambda: lamps.set_light_state(every, carla.LightState()),
            "LightManager.set_light_states": lambda: lamps.set_light_states(every, []),
            "LightManager.get_light_state": lambda: lamps.get_light_state(every),
            "LightManager.set_day_night_cycle": lambda: lamps.set_day_night_cycle(True),
            "command.SpawnActor": lambda: batch(command.SpawnActor(self.blueprint, self.place)),
            "command.DestroyActor": lambda: batch(command.DestroyActor(gone().id)),
            "command.ApplyVehicleControl": lambda: batch(
                command.ApplyVehicleControl(car.id, carla.VehicleControl())
            ),
            "command.ApplyVehicleAckermannControl": lambda: batch(
                command.ApplyVehicleAckermannControl(car.id, carla.VehicleAckermannControl())
            ),
            "command.ApplyWalkerControl": lambda: batch(
                command.ApplyWalkerControl(walker.id, carla.WalkerControl())
            ),
            "command.ApplyVehiclePhysicsControl": lambda: batch(
                command.ApplyVehiclePhysicsControl(car.id, car.get_physics_control())
            ),
            "command.ApplyTransform": lambda: batch(command.ApplyTransform(car.id, car.get_transform())),
            "command.ApplyWalkerState": lambda: batch(
                command.ApplyWalkerState(walker.id, walker.get_transform(), 1.0)
            ),
            "command.ApplyTargetVelocity": lambda: batch(command.ApplyTargetVelocity(car.id, PUSH)),
            "command.ApplyTargetAngularVelocity": lambda: batch(
                command.ApplyTargetAngularVelocity(car.id, PUSH)
            ),
            "command.ApplyImpulse": lambda: batch(command.ApplyImpulse(car.id, PUSH)),
            "command.ApplyForce": lambda: batch(command.ApplyForce(car.id, PUSH)),
            "command.ApplyAngularImpulse": lambda: batch(command.ApplyAngularImpulse(car.id, PUSH)),
            "command.ApplyTorque": lambda: batch(command.ApplyTorque(car.id, PUSH)),
            "command.SetSimulatePhysics": lambda: batch(command.SetSimulatePhysics(car.id, True)),
            "command.SetEnableGravity": lambda: batch(command.SetEnableGravity(car.id, True)),
            "command.SetAutopilot": lambda: batch(
                command.SetAutopilot(car.id, True, self.manager.get_port())
            ),
            "command.ShowDebugTelemetry": lambda: batch(command.ShowDebugTelemetry(car.id, True)),
            "command.SetVehicleLightState": lambda: batch(
                command.SetVehicleLightState(car.id, carla.VehicleLightState.LowBeam)
            ),
        }


def main() -> None:
    """Calls everything."""
    client = carla.Client(sys.argv[1], int(sys.argv[2]), 1)
    client.set_timeout(5.0)
    folder = tempfile.mkdtemp()
    client.set_files_base_folder(folder)  # before anything else: the wheel's default is ~/carlaCache
    client.load_world("TownCross")
    stage = Stage(client, folder)
    for method in methods():
        try:
            sys.stderr.write(f"{method}\n")
            stage.call(method)
            met = ""
        except Exception as error:
            met = str(error) or type(error).__name__
        sys.stdout.write(f"{method}\t{' '.join(met.split())}\n")
        sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
