import os

import pytest
import torch

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.models.device import Runtime, choose_runtime


def test_auto_precision_in_training_is_bf16_only_with_matrix_units() -> None:
    has_amx = getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)()
    chosen = choose_runtime("cpu", "auto", training=True)
    assert chosen.dtype == (torch.bfloat16 if has_amx else torch.float32)
    assert choose_runtime("cpu", "auto", training=False).dtype == torch.float32


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_device_that_is_not_available_is_refused_in_one_line() -> None:
    with pytest.raises(InputError, match=r"^no cuda device is available; use --device cpu or --device auto$"):
        choose_runtime("cuda", "auto", training=False)


@pytest.mark.parametrize(("device", "waits"), [("cpu", True), ("mps", True), ("cuda", False)])
def test_only_copies_to_cuda_are_non_blocking(device: str, waits: bool) -> None:
    class Recorder(torch.Tensor):
        def to(self, *_: object, non_blocking: bool, **__: object) -> "Recorder":
            asked.append(non_blocking)
            return self

    asked: list[bool] = []
    batch = torch.zeros(1, 3, 2, 2).as_subclass(Recorder)
    runtime = Runtime(torch.device(device), torch.float32)
    runtime.put(batch)
    runtime.move(batch)
    assert asked == [not waits] * 2


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_torch_takes_no_more_threads_than_there_are_cores_for_it() -> None:
    allowed, threads = os.sched_getaffinity(0), torch.get_num_threads()
    torch.set_num_threads(3)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        choose_runtime("cpu", "fp32", training=False).activate()
        assert torch.get_num_threads() == 1
    finally:
        os.sched_setaffinity(0, allowed)
        torch.set_num_threads(threads)


def test_newer_flags_of_the_program_stay_as_they_were() -> None:
    # torch refuses to read its older flags while these are set.
    matmul, conv = torch.backends.cuda.matmul, torch.backends.cudnn.conv
    start = matmul.fp32_precision, conv.fp32_precision
    matmul.fp32_precision, conv.fp32_precision = "tf32", "ieee"
    try:
        for tf32 in (False, True):
            with Runtime(torch.device("cpu"), torch.float32, tf32=tf32).alone():
                assert matmul.fp32_precision == ("tf32" if tf32 else "ieee")
            assert (matmul.fp32_precision, conv.fp32_precision) == ("tf32", "ieee")
    finally:
        torch.set_float32_matmul_precision("highest")
        torch.backends.cudnn.allow_tf32 = True
        if (matmul.fp32_precision, conv.fp32_precision) != start:
            matmul.fp32_precision, conv.fp32_precision = start
