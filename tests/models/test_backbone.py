import pytest
import torch

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.models.backbone import create_model, normalization, require_known

ARCH = "mobilevitv2_050"


def test_the_papers_model_has_4_4_million_parameters() -> None:
    model = create_model("mobilevitv2_100", 14, 256)
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(4.4e6, rel=0.01)


def test_an_unknown_backbone_is_refused_with_near_names() -> None:
    with pytest.raises(InputError, match="unknown backbone 'mobilevit2_100'; did you mean mobilevitv2_100"):
        require_known("mobilevit2_100")


def test_a_vit_takes_the_size_it_is_told() -> None:
    model = create_model("vit_tiny_patch16_224", 3, 64)
    assert model.eval()(torch.zeros(1, 3, 64, 64)).shape == (1, 3)


def test_a_size_that_a_backbone_cannot_take_is_refused() -> None:
    with pytest.raises(InputError, match="cannot take 256×256 images"):
        create_model("efficientformer_l1", 3, 256)


def test_normalization_is_imagenets_or_the_backbones() -> None:
    assert normalization(ARCH, "imagenet") == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert normalization(ARCH, "backbone") == ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
