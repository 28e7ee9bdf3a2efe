"""CARLA, client side: world, sensors, ego, scenarios, routes, plan follower, privileged expert."""
