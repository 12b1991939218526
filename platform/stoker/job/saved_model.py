"""The folder of a saved model, as all see it who write, fetch or read one."""

WEIGHTS = "weights.safetensors"
"""Its largest file, by which the folder is known."""
