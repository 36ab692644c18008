import pytest
import torch

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.models.device import choose_runtime


def test_auto_precision_in_training_is_bf16_only_with_matrix_units() -> None:
    has_amx = getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)()
    chosen = choose_runtime("cpu", "auto", training=True)
    assert chosen.dtype == (torch.bfloat16 if has_amx else torch.float32)
    assert choose_runtime("cpu", "auto", training=False).dtype == torch.float32


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_device_that_is_not_available_is_refused_in_one_line() -> None:
    with pytest.raises(InputError, match=r"^no cuda device is available; use --device cpu or --device auto$"):
        choose_runtime("cuda", "auto", training=False)
