import sys
from pathlib import Path

import pytest

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.exporting.formats import format_of


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("m.pte", "executorch is needed to write a .pte: pip install executorch"),
        ("m.mlpackage", "coremltools is needed to write a .mlpackage: pip install coremltools"),
    ],
)
def test_a_missing_package_is_named_in_one_line(
    monkeypatch: pytest.MonkeyPatch, name: str, message: str
) -> None:
    # To the import system, None means that there is no such module.
    for module in ("executorch", "coremltools"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError) as caught:
        format_of(Path(name)).require(Path(name).suffix)
    assert str(caught.value) == message


def test_another_suffix_is_refused_with_those_that_exist() -> None:
    with pytest.raises(
        InputError, match=r"--to m\.pth: the file must be a \.onnx, \.pt2, \.pte, \.mlpackage"
    ):
        format_of(Path("m.pth"))
