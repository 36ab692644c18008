import numpy as np
import pytest

from skinlesion_cli.models.ood import DIRECTIONS, FAMILIAR, MIN_IMAGES, Novelty, fit_novelty


def features(n: int, seed: int) -> np.ndarray:
    """Features near a plane of 10 dimensions in a space of 100."""
    generator = np.random.default_rng(seed)
    plane = np.random.default_rng(0).normal(size=(10, 100)) * 3
    return 5 + generator.normal(size=(n, 10)) @ plane + 0.5 * generator.normal(size=(n, 100))


def test_the_distance_is_mahalanobis_under_the_fitted_gaussian() -> None:
    training, others = features(400, 1), features(50, 2)
    fitted = fit_novelty(training, others)
    assert fitted is not None
    # The covariance of Tipping and Bishop 1999, equation 7 on, written out, and its inverse.
    values, vectors = np.linalg.eigh(np.cov(training.T))
    k = fitted.directions.shape[1]
    assert k == DIRECTIONS
    noise = values[: 100 - k].mean()
    leading = vectors[:, 100 - k :]
    covariance = noise * np.eye(100) + leading @ np.diag(values[100 - k :] - noise) @ leading.T
    centred = others - training.mean(axis=0)
    expected = np.sqrt(np.einsum("ni,ij,nj->n", centred, np.linalg.inv(covariance), centred) / 100)
    assert fitted.distances(others) == pytest.approx(expected, rel=1e-3)
    assert fitted.noise == pytest.approx(noise, rel=1e-6)


def test_the_limit_leaves_out_a_hundredth_of_validation() -> None:
    validation = features(1000, 2)
    fitted = fit_novelty(features(400, 1), validation)
    assert fitted is not None
    inside = (fitted.distances(validation) <= fitted.limit).mean()
    assert FAMILIAR <= inside <= FAMILIAR + 0.002


def test_what_lies_off_the_plane_or_far_out_on_it_is_unfamiliar() -> None:
    fitted = fit_novelty(features(400, 1), features(200, 2))
    assert fitted is not None
    off_the_plane = features(50, 3) + np.random.default_rng(4).normal(size=(50, 100)) * 3
    far_out = 5 + (features(50, 3) - 5) * 4
    for strange in (off_the_plane, far_out):
        assert (fitted.distances(strange) > fitted.limit).mean() > 0.95


def test_nothing_is_fitted_to_too_little() -> None:
    assert fit_novelty(features(MIN_IMAGES - 1, 1), features(5, 2)) is None
    assert fit_novelty(np.ones((100, 8)), np.ones((5, 8))) is None
    assert isinstance(fit_novelty(features(MIN_IMAGES, 1), features(5, 2)), Novelty)
