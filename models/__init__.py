"""The driving policy: backbone, action codec, prompts, runtime, and the registry of its generations."""
