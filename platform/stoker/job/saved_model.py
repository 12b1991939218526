"""The folder of a saved model, as all see it who write, fetch or read one."""

WEIGHTS = "weights.safetensors"
"""Its largest file, by which the folder is known."""
SIGNATURE = "signature.json"
"""What the model takes and returns, as MLflow writes it."""
EXAMPLE = "example.json"
"""A few samples that it takes."""
