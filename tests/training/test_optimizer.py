import timm
import torch
from torch import nn

from skinlesion_cli.common.settings import Settings
from skinlesion_cli.training.optimizer import make_average, make_optimizer, make_scheduler


def small() -> nn.Module:
    torch.manual_seed(0)
    return timm.create_model("mobilevitv2_050", num_classes=3)


def rates(**settings: object) -> list[float]:
    made = Settings(learning_rate=1.0, **settings)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = make_scheduler(optimizer, made)
    found = []
    for _ in range(made.epochs):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


def test_a_warmup_rises_linearly_before_the_cosine() -> None:
    half = 0.5 * (1 + 0.5**0.5)
    expected = [1 / 3, 2 / 3, 1, half, 0.5, 1 - half]
    assert torch.allclose(torch.tensor(rates(epochs=6, warmup_epochs=2)), torch.tensor(expected))
    # One epoch has no time to warm up.
    assert rates(epochs=1, warmup_epochs=3) == [1.0]


def test_without_decay_norm_no_vector_decays() -> None:
    model = small()
    optimizer = make_optimizer(model, Settings(decay_norm=False, weight_decay=0.1))
    decays = {id(one): group["weight_decay"] for group in optimizer.param_groups for one in group["params"]}
    assert len(decays) == len(list(model.parameters()))
    for parameter in model.parameters():
        assert decays[id(parameter)] == (0.0 if parameter.ndim <= 1 else 0.1)
    (only,) = make_optimizer(model, Settings(weight_decay=0.1)).param_groups
    assert only["weight_decay"] == 0.1


def test_layer_decay_lowers_the_rate_from_the_head_down() -> None:
    model = small()
    optimizer = make_optimizer(model, Settings(layer_decay=0.5, learning_rate=0.01))
    lr = {id(one): group["lr"] for group in optimizer.param_groups for one in group["params"]}
    assert lr[id(model.head.fc.weight)] == 0.01
    by_stage = [lr[id(next(stage.parameters()))] for stage in (model.stem, *model.stages)]
    assert by_stage == sorted(by_stage)
    assert len(set(by_stage)) > 3
    assert all(abs(rate / 0.01).hex().startswith("0x1.0000000000000p") for rate in by_stage)


def test_the_average_is_the_recursion_with_a_growing_decay() -> None:
    model = nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        model.weight.fill_(1.0)
    average, expected = make_average(model, 0.6), 1.0
    assert average is not None
    for step in range(1, 8):
        with torch.no_grad():
            model.weight.fill_(float(step))
        average.update(model, step)
        decay = 0.0 if step == 1 else min(0.6, 1 - step ** (-2 / 3))
        expected = decay * expected + (1 - decay) * step
        assert torch.allclose(average.module.weight, torch.tensor(expected), rtol=1e-6)
    assert make_average(model, 0.0) is None
