"""Device, precision, memory layout and seeds."""

import contextlib
import os
import random
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from skinlesion_cli.common.cores import usable_cores
from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.settings import checked
from skinlesion_cli.models.malloc import keep_freed_memory

_alone, _is_fork = threading.RLock(), False


def _after_fork() -> None:
    # A thread of the parent, which does not exist in the child, may have held the lock.
    global _alone, _is_fork
    _alone, _is_fork = threading.RLock(), True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@dataclass(frozen=True)
class Runtime:
    """A device and the precision used on it."""

    device: torch.device
    dtype: torch.dtype
    """float32, or the low-precision type of mixed precision."""
    tf32: bool = False
    """Whether fp32 matrix products may use TF32 on NVIDIA GPUs."""

    def activate(self) -> None:
        """Configure torch for this runtime; call it before work that may follow another runtime's."""
        if self.device.type == "cpu":
            keep_freed_memory()
        # torch counts the machine's cores, even if a container may use only some of them.
        if torch.get_num_threads() > usable_cores():
            torch.set_num_threads(usable_cores())
        wanted = "high" if self.tf32 else "highest"
        # Setting the same value again would change torch's newer flags for the same thing.
        if _summary()[0] != wanted:
            torch.set_float32_matmul_precision(wanted)
        if self.device.type == "cuda":
            torch.backends.cudnn.allow_tf32 = self.tf32

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Inside, torch is configured for this runtime, in one thread at a time; then as it was before."""
        if _is_fork:
            # OpenMP's threads are not in this process, and torch would wait for them forever.
            torch.set_num_threads(1)
        # The configuration belongs to the whole process.
        with _alone, preserved_precision():
            self.activate()
            yield

    def autocast(self) -> contextlib.AbstractContextManager[None]:
        """A context of mixed precision; does nothing for fp32."""
        if self.dtype == torch.float32:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=self.dtype)  # type: ignore[no-any-return, attr-defined, unused-ignore]

    def grad_scaler(self) -> torch.amp.GradScaler:
        """The loss scaler of a whole run; it is active only for fp16 on CUDA."""
        return torch.amp.GradScaler(enabled=self.device.type == "cuda" and self.dtype == torch.float16)

    def put(self, images: torch.Tensor) -> torch.Tensor:
        """Move a batch (n, 3, height, width) to the device, channels last."""
        return images.to(self.device, non_blocking=self._is_cuda, memory_format=torch.channels_last)

    def move(self, values: torch.Tensor) -> torch.Tensor:
        """Move any tensor to the device; only on CUDA is the copy non-blocking."""
        return values.to(self.device, non_blocking=self._is_cuda)

    @property
    def _is_cuda(self) -> bool:
        # On MPS, such a copy may read memory that was already freed (pytorch#139550).
        return self.device.type == "cuda"

    def describe(self) -> str:
        """Device and precision, as text for the user."""
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else self.device.type
        precision = {torch.float32: "fp32", torch.bfloat16: "bfloat16 mixed precision"}
        return f"{name}, {precision.get(self.dtype, 'fp16 mixed precision')}"


@contextlib.contextmanager
def preserved_precision() -> Iterator[None]:
    """Leave torch's precision of matrix products and convolutions as it was."""
    matmul, tf32 = _summary()
    found = [one.fp32_precision for one in _PARTS]
    try:
        yield
    finally:
        if matmul is not None and _summary()[0] != matmul:
            torch.set_float32_matmul_precision(matmul)
        if tf32 is not None and _summary()[1] != tf32:
            torch.backends.cudnn.allow_tf32 = tf32
        for part, precision in zip(_PARTS, found, strict=True):
            if part.fp32_precision != precision:
                part.fp32_precision = precision


_PARTS: tuple[Any, ...] = (
    torch.backends.cuda.matmul,
    torch.backends.cudnn.conv,  # type: ignore[attr-defined, unused-ignore]
    torch.backends.cudnn.rnn,
    torch.backends.mkldnn.matmul,  # type: ignore[attr-defined, unused-ignore]
)
"""What torch's newer flags set one by one."""


def _summary() -> tuple[str | None, bool | None]:
    """Torch's older flags: precision of matrix products, and TF32 in convolutions.

    None if the program has set newer flags to a combination that torch cannot express in the older ones.
    """
    matmul, tf32 = None, None
    with contextlib.suppress(RuntimeError):
        matmul = torch.get_float32_matmul_precision()
    with contextlib.suppress(RuntimeError):
        tf32 = torch.backends.cudnn.allow_tf32
    return matmul, tf32


def choose_runtime(device: str | torch.device, precision: str, *, training: bool) -> Runtime:
    """Choose the device (auto, cpu, cuda, cuda:0, … or mps) and the precision (auto, fp32, bf16 or fp16).

    "auto" takes the best device available, and for training the precision that is fast on it. Scores and
    predictions are computed in fp32 unless another precision is requested, so that they do not depend on the
    processor. fp32 on CUDA may use TF32 in training only.

    Raises:
        InputError: the device is not available, or does not support the precision.
    """
    available = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    wanted = str(device)
    if wanted == "auto":
        wanted = next(name for name in ("cuda", "mps", "cpu") if available[name])
    device, _, index = wanted.partition(":")
    checked("device", device, origin="")
    checked("precision", precision, origin="")
    if not available[device] or (index and not (index.isdecimal() and int(index) < available[device])):
        raise InputError(f"no {wanted} device is available; use --device cpu or --device auto")
    if precision == "auto":
        precision = _fast_precision(device) if training else "fp32"
    if precision == "fp16" and device == "cpu":
        raise InputError("fp16 is not supported on the CPU; use --precision bf16 or --precision fp32")
    if device == "cuda":
        try:
            # Run one kernel: torch also reports GPUs as available for which its build has no kernels.
            torch.zeros(1, device=wanted).add_(1).item()
        except RuntimeError as error:
            reason = str(error).strip().split("\n")[0]
            raise InputError(f"this build of torch cannot use the GPU ({reason}); use --device cpu") from None
        with torch.cuda.device(wanted):
            lacks_bf16 = precision == "bf16" and not torch.cuda.is_bf16_supported(including_emulation=False)
        if lacks_bf16:
            name = torch.cuda.get_device_name(wanted)
            raise InputError(f"{name} does not support bfloat16; use --precision fp16 or --precision fp32")
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    return Runtime(torch.device(wanted), dtype, tf32=training)


def _fast_precision(device: str) -> str:
    if device == "cuda":
        return "fp16"
    # fp16 on MPS has no loss scaler, and its batch normalisation has crashed (pytorch#154887). On a CPU
    # without matrix units for it, bfloat16 is slower than fp32 in depthwise convolutions.
    return "bf16" if device == "cpu" and _has_bf16_matrix_units() else "fp32"


def _has_bf16_matrix_units() -> bool:
    """Whether Linux lists Intel's AMX among the processor's features; torch has no public test."""
    try:
        return "amx_tile" in Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
    except OSError:
        return False


def seed_everything(seed: int) -> None:
    """Seed all random generators of this process, on all devices."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
