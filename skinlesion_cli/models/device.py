"""Where and how to compute: device, precision, memory layout, seeds."""

import contextlib
import random
from dataclasses import dataclass

import numpy as np
import torch

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.models.malloc import keep_freed_memory


@dataclass(frozen=True)
class Runtime:
    """A device and the arithmetic that is done on it."""

    device: torch.device
    dtype: torch.dtype
    """float32, or the type of mixed precision's fast half."""
    tf32: bool = False
    """Whether fp32 products may use TF32, on NVIDIA GPUs that have it."""

    def activate(self) -> None:
        """Let this process compute like this; to be called before work that follows another runtime's."""
        if self.device.type == "cpu":
            keep_freed_memory()
        torch.set_float32_matmul_precision("high" if self.tf32 else "highest")
        torch.backends.cudnn.allow_tf32 = self.tf32

    def autocast(self) -> contextlib.AbstractContextManager[None]:
        """Mixed precision inside the block; nothing in fp32."""
        if self.dtype == torch.float32:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=self.dtype)  # type: ignore[no-any-return, attr-defined, unused-ignore]

    def grad_scaler(self) -> torch.amp.GradScaler:
        """One loss scaler for a whole run; it does nothing but for fp16 on CUDA."""
        return torch.amp.GradScaler(
            "cuda", enabled=self.device.type == "cuda" and self.dtype == torch.float16
        )

    def put(self, images: torch.Tensor) -> torch.Tensor:
        """Move a batch (n, 3, height, width) to the device, channels last."""
        return images.to(self.device, non_blocking=True, memory_format=torch.channels_last)

    def describe(self) -> str:
        """Device and precision, for people."""
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else self.device.type
        precision = {torch.float32: "fp32", torch.bfloat16: "bfloat16 mixed precision"}
        return f"{name}, {precision.get(self.dtype, 'fp16 mixed precision')}"


def choose_runtime(device: str, precision: str, *, training: bool) -> Runtime:
    """Settle "auto": the best device there is, and for training the precision that is fast on it.

    Scores and predictions are computed in fp32 unless another precision is asked for, so that they do not
    depend on the processor. fp32 on CUDA may use TF32 in training only.

    Args:
        device: auto, cpu, cuda or mps.
        precision: auto, fp32, bf16 or fp16.
        training: whether gradients will be taken.

    Raises:
        InputError: the device is not there, or cannot do the precision.
    """
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if device == "auto":
        device = next(name for name in ("cuda", "mps", "cpu") if available[name])
    if not available[device]:
        raise InputError(f"there is no {device} device here; use --device cpu or --device auto")
    if precision == "auto":
        precision = _fast_precision(device) if training else "fp32"
    if precision == "fp16" and device == "cpu":
        raise InputError("fp16 is not for the CPU; use --precision bf16 or --precision fp32")
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    return Runtime(torch.device(device), dtype, tf32=training)


def _fast_precision(device: str) -> str:
    if device != "cpu":
        return "fp16"
    # Without matrix units for it, bfloat16 is slower than fp32 on depthwise convolutions.
    return "bf16" if torch.cpu._is_amx_tile_supported() else "fp32"


def seed_everything(seed: int) -> None:
    """Seed every random generator of this process, on all devices."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
