"""Checkpoints as ONNX, int8 ONNX and .pt2."""
