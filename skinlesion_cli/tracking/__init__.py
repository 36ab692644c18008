"""Experiment trackers: TensorBoard, MLflow, Weights & Biases, Trackio, and the interface for others."""
