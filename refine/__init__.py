"""Refinement: sft, dpo, grpo, refit of the head, anchors; imports neither carla nor mlflow."""
