import timm
import torch

from skinlesion_cli.common.settings import Settings
from skinlesion_cli.training.network import freeze_backbone, set_training_mode
from skinlesion_cli.training.optimizer import make_optimizer


def test_a_frozen_backbone_keeps_its_weights_and_statistics() -> None:
    torch.manual_seed(0)
    model = timm.create_model("mobilevitv2_050", num_classes=3)
    freeze_backbone(model)
    set_training_mode(model, frozen=True)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = make_optimizer(model, Settings(learning_rate=0.1))
    model(torch.randn(2, 3, 64, 64)).sum().backward()
    optimizer.step()
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"head.fc.weight", "head.fc.bias"}
