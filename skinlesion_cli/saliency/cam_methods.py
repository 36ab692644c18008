"""Four methods that compute a class-activation map from a layer's output and a gradient.

Each takes the output A of a layer and the gradient g = dy/dA of a class's logit y, both (channels, rows,
columns), and returns the contribution of each channel at each position, with the same shape. `Method.map_of`
sums the channels: the evidence for the class, (rows, columns), ≥ 0 and not scaled. torch is not imported, so
that the command line can list the methods quickly.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from skinlesion_cli.common.errors import InputError
from skinlesion_cli.common.text import nearest

if TYPE_CHECKING:
    from torch import Tensor

NOISE = 1e-4
"""A map whose maximum is below this share of the summed magnitudes is the rounding error of a sum that is
zero: before a layer normalisation, Σ_k g_k A_k is zero at every position, so HiResCAM finds nothing there."""


def grad_cam(activation: "Tensor", gradient: "Tensor") -> "Tensor":
    """Grad-CAM: ReLU(Σ_k w_k A_k), w_k the mean of g_k over the positions.

    Source: Selvaraju et al., *Grad-CAM: Visual Explanations from Deep Networks via Gradient-based
    Localization*, ICCV 2017, equations 1 and 2.
    """
    return _weighted(activation, gradient.mean(dim=(1, 2)))


def grad_cam_plus_plus(activation: "Tensor", gradient: "Tensor") -> "Tensor":
    """Grad-CAM++: ReLU(Σ_k w_k A_k), w_k = Σ_ij α_kij ReLU(g_kij), α = g² / (2 g² + g³ Σ_ij A_kij).

    Source: Chattopadhay et al., *Grad-CAM++: Generalized Gradient-based Visual Explanations for Deep
    Convolutional Networks*, WACV 2018, equations 5 and 19. The score is exp(y), as there; the factor
    exp(y) is constant over the map and is left out.
    """
    # α with g² cancelled: a small constant that guards the division would dominate the squares and cubes of a
    # gradient of 1e-4.
    denominator = 2 + gradient * activation.sum(dim=(1, 2), keepdim=True)
    alpha = (1 / denominator).where(denominator != 0, 0)
    return _weighted(activation, (alpha * gradient.clamp(min=0)).sum(dim=(1, 2)))


def hires_cam(activation: "Tensor", gradient: "Tensor") -> "Tensor":
    """HiResCAM: ReLU(Σ_k g_k ⊙ A_k), the gradient multiplied position by position instead of averaged.

    Source: Draelos and Carin, *Use HiResCAM instead of Grad-CAM for faithful explanations of convolutional
    neural networks*, arXiv:2011.08891, 2020. The ReLU, as in Grad-CAM, removes evidence against the class.
    """
    return gradient * activation


def layer_cam(activation: "Tensor", gradient: "Tensor") -> "Tensor":
    """LayerCAM: ReLU(Σ_k ReLU(g_k) ⊙ A_k).

    Source: Jiang et al., *LayerCAM: Exploring Hierarchical Class Activation Maps for Localization*, IEEE
    Transactions on Image Processing 30, 2021.
    """
    return gradient.clamp(min=0) * activation


def _weighted(activation: "Tensor", weights: "Tensor") -> "Tensor":
    return weights[:, None, None] * activation


@dataclass(frozen=True)
class Method:
    """A kind of class-activation map."""

    title: str
    """Its name in figures and texts."""
    contributions: Callable[["Tensor", "Tensor"], "Tensor"]

    def map_of(self, activation: "Tensor", gradient: "Tensor") -> "Tensor":
        """The map (rows, columns), ≥ 0; 0 everywhere if it is empty or consists of rounding noise."""
        terms = self.contributions(activation, gradient)
        evidence = terms.sum(dim=0).clamp(min=0)
        magnitude = terms.abs().sum(dim=0).max()
        return evidence * (evidence.max() >= NOISE * magnitude)


METHODS = {
    "gradcam": Method("Grad-CAM", grad_cam),
    "gradcam++": Method("Grad-CAM++", grad_cam_plus_plus),
    "hirescam": Method("HiResCAM", hires_cam),
    "layercam": Method("LayerCAM", layer_cam),
}
DEFAULT_METHOD = "gradcam"
SAME_AS_CAM = ("gradcam", "hirescam")
"""If only averaging and one linear layer follow, g is the same at all positions, and both methods give the
class-activation map ReLU(Σ_k w_k A_k) / number of positions, where w are the linear layer's weights for the
class. Source: Zhou et al., *Learning Deep Features for Discriminative Localization*, CVPR 2016, equation 2;
Selvaraju et al., section 3.1, prove it for Grad-CAM."""


def require_method(name: str) -> None:
    """Raise InputError, with similar names, unless there is a method of this name."""
    if name not in METHODS:
        raise InputError(f"no method {name!r}{nearest(name, METHODS)}; use {', '.join(METHODS)}")
