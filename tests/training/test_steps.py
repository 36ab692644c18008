"""What one step of the optimiser is: the gradient of the weighted mean loss over the images of the step."""

from pathlib import Path

import pytest
import torch

from skinlesion_cli.data.augment import augment, normalize
from tests.support.runs import steps_of, trainer

# No batch normalisation, whose statistics are those of a batch. The classes weigh 0.5 to 1.6.
OPTIONS = {"model_arch": "test_vit", "epochs": 1, "grad_clip_norm": 0.0, "loss_beta": 1.0, "seed": 42}
OPTIONS |= {"epoch_size_mult": 1.3}


@pytest.mark.parametrize(
    "recipe",
    [{}, {"mixup": 0.4, "cutmix": 1.0, "label_smoothing": 0.1, "logit_adjustment": 0.5, "augment": "strong"}],
    ids=["paper", "mixed"],
)
def test_accumulated_batches_have_the_gradient_of_their_union(
    data: Path, tmp_path: Path, recipe: dict[str, object]
) -> None:
    # 30 draws: a full step, and one of 14, whose batches are of 2 and 4.
    options = OPTIONS | recipe
    whole = steps_of(trainer(data, tmp_path / "a", batch_size=16, **options)[0])
    parts = steps_of(trainer(data, tmp_path / "b", batch_size=4, accumulate=4, **options)[0])
    assert len(whole) == len(parts) == 2
    for (sums, gradient), (sums_in_parts, gradient_in_parts) in zip(whole, parts, strict=True):
        assert sums_in_parts == pytest.approx(sums, rel=1e-5)
        for name, value in gradient.items():
            assert torch.allclose(gradient_in_parts[name], value, rtol=1e-4, atol=1e-6), name


def test_a_step_is_the_weighted_mean_of_its_batch(data: Path, tmp_path: Path) -> None:
    run, _ = trainer(data, tmp_path, batch_size=15, accumulate=2, **OPTIONS)
    ((sums, gradient),) = steps_of(run)
    images, labels, parameters = (torch.cat(parts) for parts in zip(*run.loader, strict=True))
    inputs = normalize(augment(images, parameters), run.preprocessing.mean, run.preprocessing.std)
    logits = run.model.train()(inputs)
    weights = torch.tensor(run.loss.class_weights, dtype=torch.float32)[labels]
    losses = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    total = (weights * losses).sum()
    run.model.zero_grad()
    (total / weights.sum()).backward()
    hits = (logits.argmax(dim=1) == labels).sum()
    assert sums == pytest.approx(torch.stack([total.detach(), weights.sum(), hits]).double(), rel=1e-5)
    for name, value in run.model.named_parameters():
        assert torch.allclose(gradient[name], value.grad, rtol=1e-4, atol=1e-6), name  # type: ignore[arg-type]
