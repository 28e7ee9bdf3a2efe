"""Scenarios: what happens on a drive, by the names of the CARLA leaderboard."""
