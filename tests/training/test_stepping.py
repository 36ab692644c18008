from pathlib import Path

import pytest
import torch

from skinlesion_cli.common.settings import Settings
from skinlesion_cli.data.augment import augment, normalize
from skinlesion_cli.data.splits import read_split
from skinlesion_cli.training.run_folder import RunFolder
from skinlesion_cli.training.trainer import Trainer

Gradient = dict[str, torch.Tensor]


def trainer(data: Path, root: Path, *, batch_size: int, accumulate: int) -> Trainer:
    # No batch normalisation, whose statistics are those of a batch. The classes weigh 0.5 to 1.6.
    settings = Settings(
        data_root=data,
        model_arch="test_vit",
        img_size=64,
        pretrained=False,
        batch_size=batch_size,
        accumulate=accumulate,
        grad_clip_norm=0.0,
        loss_beta=1.0,
        epoch_size_mult=1.3,
        num_workers=0,
        precision="fp32",
    )
    return Trainer(settings, read_split(data, "train"), read_split(data, "val"), RunFolder(root))


def gradients(run: Trainer) -> list[tuple[torch.Tensor, Gradient]]:
    """What each step of an epoch reports and its gradient, with the weights held still."""
    run.optimizer.param_groups[0]["lr"] = 0.0
    weights, batches = torch.tensor(run.class_weights, dtype=torch.float32), iter(run.loader)
    found = []
    for _, shares in run.draws.shares(run.class_weights):
        seen = run.stepper.step(run.forward, batches, shares, weights)
        found.append((seen, {name: p.grad.clone() for name, p in run.model.named_parameters()}))  # type: ignore[union-attr]
    return found


def test_accumulated_batches_have_the_gradient_of_their_union(data: Path, tmp_path: Path) -> None:
    # 30 draws: a full step, and one of 14, whose batches are of 4 and 3.
    whole = gradients(trainer(data, tmp_path, batch_size=16, accumulate=1))
    parts = gradients(trainer(data, tmp_path, batch_size=4, accumulate=4))
    assert len(whole) == len(parts) == 2
    for (seen, gradient), (seen_in_parts, gradient_in_parts) in zip(whole, parts, strict=True):
        assert seen_in_parts == pytest.approx(seen, rel=1e-5)
        for name, value in gradient.items():
            assert torch.allclose(gradient_in_parts[name], value, rtol=1e-4, atol=1e-6), name


def test_a_step_is_the_weighted_mean_of_its_batch(data: Path, tmp_path: Path) -> None:
    run = trainer(data, tmp_path, batch_size=15, accumulate=2)
    ((seen, gradient),) = gradients(run)
    images, labels, parameters = (torch.cat(parts) for parts in zip(*run.loader, strict=True))
    inputs = normalize(augment(images, parameters), run.preprocessing.mean, run.preprocessing.std)
    logits = run.model(inputs)
    weights = torch.tensor(run.class_weights, dtype=torch.float32)[labels]
    losses = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    mean = (weights * losses).sum() / weights.sum()
    run.model.zero_grad()
    mean.backward()
    hits = (logits.argmax(dim=1) == labels).sum()
    assert seen == pytest.approx(torch.stack([mean.detach(), weights.sum(), hits]), rel=1e-5)
    for name, value in run.model.named_parameters():
        assert torch.allclose(gradient[name], value.grad, rtol=1e-4, atol=1e-6), name  # type: ignore[arg-type]
