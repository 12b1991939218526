"""Stoker: a short YAML becomes a trained model, on one machine or on a cluster."""

__version__ = "0.1.0"
