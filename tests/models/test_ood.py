import dataclasses

import numpy as np
import pytest

from skinlesion_cli.models.ood import (
    DIRECTIONS,
    FALSE_ALARMS,
    LEAST_SCALE,
    MIN_IMAGES,
    FittedOod,
    OodDetector,
    fit_ood_detector,
)


def features(n: int, seed: int) -> np.ndarray:
    """Features near a plane of 10 dimensions in a space of 100."""
    generator = np.random.default_rng(seed)
    plane = np.random.default_rng(0).normal(size=(10, 100)) * 3
    return 5 + generator.normal(size=(n, 10)) @ plane + 0.5 * generator.normal(size=(n, 100))


def fitted(training: np.ndarray, validation: np.ndarray) -> FittedOod:
    found = fit_ood_detector(training, validation, 2)
    assert found is not None
    return found


def test_the_distance_is_mahalanobis_under_the_fitted_gaussian() -> None:
    training, others = features(400, 1), features(50, 2)
    training[:, 7], others[:, 7] = training[:, 7] * 1e-3, 5e-3 + others[:, 7] * 1e-3
    detector = fitted(training, others).detector
    # Each feature is divided by its deviation; one that hardly varies, by a tenth of the median deviation.
    deviation = training.std(axis=0)
    scale = np.where(np.arange(100) == 7, LEAST_SCALE * np.median(deviation), deviation)
    assert detector.scale == pytest.approx(scale, rel=1e-5)
    scaled, centred = (training - training.mean(axis=0)) / scale, (others - training.mean(axis=0)) / scale
    # The covariance of Tipping and Bishop 1999, equation 7 on, written out, and its inverse.
    values, vectors = np.linalg.eigh(np.cov(scaled.T))
    k = detector.directions.shape[1]
    assert k == DIRECTIONS
    noise = values[: 100 - k].mean()
    leading = vectors[:, 100 - k :]
    covariance = noise * np.eye(100) + leading @ np.diag(values[100 - k :] - noise) @ leading.T
    expected = np.sqrt(np.einsum("ni,ij,nj->n", centred, np.linalg.inv(covariance), centred) / 100)
    assert detector.distances(others) == pytest.approx(expected, rel=1e-3)
    assert detector.noise == pytest.approx(noise, rel=1e-6)
    assert detector.levels == 2


@pytest.mark.parametrize("n", [30, 300, 3000])
@pytest.mark.parametrize("m", [0, 10, 1000])
def test_a_new_image_is_beyond_the_limit_as_often_as_the_rate_says(n: int, m: int) -> None:
    found = fitted(features(n, 1), features(m, 2))
    k = max(2, int(FALSE_ALARMS * (n + m + 1)))
    assert found.false_alarms == k / (n + m + 1)
    beyond = (found.detector.distances(features(4000, 3)) > found.limit).mean()
    # Of the k largest of N, the share of further images beyond the k-th varies by about sqrt(k) / N.
    assert abs(beyond - found.false_alarms) < 4 * np.sqrt(k) / (n + m + 1)


def test_a_single_outlier_does_not_set_the_limit() -> None:
    training, validation = features(200, 1), features(20, 2)
    odd = np.concatenate([validation[:-1], validation[-1:] * 1000])
    limits = [fitted(training, one).limit for one in (validation, odd)]
    assert limits[1] < 1.1 * limits[0]


def test_what_lies_off_the_plane_or_far_out_on_it_is_out_of_distribution() -> None:
    found = fitted(features(400, 1), features(200, 2))
    off_the_plane = features(50, 3) + np.random.default_rng(4).normal(size=(50, 100)) * 3
    far_out = 5 + (features(50, 3) - 5) * 4
    for strange in (off_the_plane, far_out):
        assert (found.detector.distances(strange) > found.limit).mean() > 0.95


def test_a_detector_of_an_earlier_version_has_no_scale() -> None:
    new = fitted(features(100, 1), features(20, 2)).detector
    old = OodDetector(new.mean, new.directions, new.noise)
    scaled = dataclasses.replace(new, scale=np.ones(100, np.float32))
    assert old.levels == 0
    assert old.distances(features(9, 3)) == pytest.approx(scaled.distances(features(9, 3)))


def test_too_few_images_fit_no_detector() -> None:
    assert fit_ood_detector(features(MIN_IMAGES - 1, 1), features(5, 2)) is None
    assert fit_ood_detector(np.ones((100, 8)), np.ones((5, 8))) is None
    assert fit_ood_detector(features(MIN_IMAGES, 1), features(5, 2)) is not None
