"""Trackers: TensorBoard, MLflow, Weights & Biases and Trackio, and the interface for another one."""
