import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from skinlesion_cli.data.mixing import CENTRE_X, CENTRE_Y, CUT, SHARE, draw_mixing, mix

SIDE = 32


def batch(images: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(images, 3, SIDE, SIDE, generator=generator), torch.arange(images)


def drawn(images: int, mixup: float = 0.0, cutmix: float = 0.0) -> torch.Tensor:
    rows = [draw_mixing(np.random.default_rng(seed), mixup, cutmix) for seed in range(images)]
    return torch.from_numpy(np.stack(rows))


@pytest.mark.parametrize(("mixup", "cutmix"), [(0.4, 0.0), (0.0, 1.0)], ids=["mixup", "cutmix"])
def test_a_pair_is_what_torchvision_makes_of_it(mixup: float, cutmix: float) -> None:
    for seed in range(20):
        parameters = torch.from_numpy(draw_mixing(np.random.default_rng(seed), mixup, cutmix))[None].repeat(
            2, 1
        )
        images, labels = batch(2)
        own = images.clone()
        mixed = mix(own, labels, parameters)
        share, _, x, y = parameters[0].tolist()
        # torchvision mixes each image with the one before it: of two images, each other.
        reference = v2.CutMix(alpha=1.0, num_classes=2) if cutmix else v2.MixUp(alpha=1.0, num_classes=2)
        if cutmix:
            half = int(0.5 * np.sqrt(1 - share) * SIDE)
            across, down = int(x * SIDE), int(y * SIDE)
            left, right = max(across - half, 0), min(across + half, SIDE)
            top, bottom = max(down - half, 0), min(down + half, SIDE)
            share = 1 - (right - left) * (bottom - top) / SIDE**2
            known = {"box": (left, top, right, bottom), "lam_adjusted": share}
        else:
            known = {"lam": share}
        known |= {"labels": labels, "batch_size": 2, "num_classes": 2}
        assert torch.allclose(own, reference.transform(images, known), atol=1e-6)
        targets = torch.nn.functional.one_hot(labels, 2) * mixed.shares[:, None]
        targets = targets + torch.nn.functional.one_hot(mixed.partners, 2) * (1 - mixed.shares[:, None])
        assert torch.allclose(targets, reference.transform(labels, known), atol=1e-6)


def test_the_last_of_an_odd_number_is_not_mixed() -> None:
    images, labels = batch(5)
    own = images.clone()
    mixed = mix(own, labels, drawn(5, mixup=1.0))
    assert torch.equal(own[4], images[4])
    assert not torch.equal(own[:4], images[:4])
    assert mixed.partners.tolist() == [1, 0, 3, 2, 4]
    assert mixed.shares[4] == 1


def test_with_both_each_is_taken_half_of_the_time_and_shares_follow_their_distribution() -> None:
    parameters = drawn(4000, mixup=0.2, cutmix=1.0)
    cut = parameters[:, CUT] == 1
    assert cut.float().mean() == pytest.approx(0.5, abs=0.03)
    # Variance of Beta(a, a): 1 / (4 (2 a + 1)).
    assert parameters[~cut, SHARE].var() == pytest.approx(1 / (4 * 1.4), abs=0.01)
    assert parameters[cut, SHARE].var() == pytest.approx(1 / (4 * 3), abs=0.01)
    assert parameters[:, [CENTRE_X, CENTRE_Y]].mean() == pytest.approx(0.5, abs=0.02)
