import numpy as np
import pytest

from skinlesion_cli.models.ood import DIRECTIONS, IN_DISTRIBUTION, MIN_IMAGES, OodDetector, fit_ood_detector


def features(n: int, seed: int) -> np.ndarray:
    """Features near a plane of 10 dimensions in a space of 100."""
    generator = np.random.default_rng(seed)
    plane = np.random.default_rng(0).normal(size=(10, 100)) * 3
    return 5 + generator.normal(size=(n, 10)) @ plane + 0.5 * generator.normal(size=(n, 100))


def test_the_distance_is_mahalanobis_under_the_fitted_gaussian() -> None:
    training, others = features(400, 1), features(50, 2)
    fitted, _ = fit_ood_detector(training, others)
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
    fitted, limit = fit_ood_detector(features(400, 1), validation)
    assert fitted is not None
    inside = (fitted.distances(validation) <= limit).mean()
    assert IN_DISTRIBUTION <= inside <= IN_DISTRIBUTION + 0.002


def test_what_lies_off_the_plane_or_far_out_on_it_is_out_of_distribution() -> None:
    fitted, limit = fit_ood_detector(features(400, 1), features(200, 2))
    assert fitted is not None
    off_the_plane = features(50, 3) + np.random.default_rng(4).normal(size=(50, 100)) * 3
    far_out = 5 + (features(50, 3) - 5) * 4
    for strange in (off_the_plane, far_out):
        assert (fitted.distances(strange) > limit).mean() > 0.95


def test_nothing_is_fitted_to_too_little() -> None:
    assert fit_ood_detector(features(MIN_IMAGES - 1, 1), features(5, 2)) == (None, None)
    assert fit_ood_detector(np.ones((100, 8)), np.ones((5, 8))) == (None, None)
    assert isinstance(fit_ood_detector(features(MIN_IMAGES, 1), features(5, 2))[0], OodDetector)
