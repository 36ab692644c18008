"""From images to predictions, with PyTorch or ONNX Runtime."""
