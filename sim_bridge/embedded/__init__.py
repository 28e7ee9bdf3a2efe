"""A CARLA 0.9.16 compatible server in Python: wire, world, physics, cameras. Its own process; see `sim_bridge/server.py`.

All poses here are in CARLA's left-handed frame, metres and degrees, as they go over the wire; only the bicycle model
(`scoring/kinematics.py`) works in the house frame.
"""
