"""Experiment trackers: TensorBoard, MLflow, Weights & Biases and Trackio, and the interface for custom ones."""
