"""The checks of a training's health, on distributions made by hand."""

import numpy as np
import pytest

from gb_keras import trust
from gb_keras.tensorboard import health
from tests.tensorboard.distributions import HEALTHY, NOISY, UNTRAINED


def test_nothing_is_below_zero():
    # In float32 their sum is less than that of the parts in float64.
    density = np.array([0.7, 0.2, 0.1, 0.3, 0.1, 0.6, 0.1, 0.1, 0.1, 0.0], np.float32)
    text = health.noise(density, density[None], np.array([0]), None, False, 1, None).text
    assert text.startswith("0.0% of the samples")


def test_a_bump_at_norm_1_is_a_sign_of_noise_and_nothing_else_is():
    rows = np.stack([HEALTHY, NOISY, NOISY / 4])
    found = health.noise(NOISY, rows, np.array([7, 8, 9]), 0.284, False, 3, NOISY)
    assert found.severity == "warning"
    assert [index for index, _ in found.classes] == [8, 9]
    assert found.classes[0][1] == pytest.approx(0.15)
    assert found.text.endswith("Estimated share of wrong labels: 28.4%.")
    assert "noise_exponent" in found.advice
    # Multi-label losses trust all labels.
    found = health.noise(NOISY, rows, np.array([7, 8, 9]), None, True, 3, NOISY)
    assert found.severity == "warning"
    assert "Estimated" not in found.text
    assert "noise_exponent" not in found.advice
    for density in (HEALTHY, UNTRAINED, np.zeros(10)):
        found = health.noise(density, rows, np.arange(3), 0.004, False, 3, None)
        assert found.severity == "ok"
        assert found.text.endswith("Estimated share of wrong labels: 0.4%.")


def test_a_bump_of_classes_that_are_not_learned_is_no_sign_of_noise():
    rows = np.stack([HEALTHY * 5, UNTRAINED])
    found = health.noise(rows.sum(0), rows, np.array([0, 9]), 0.05, False, 10, None)
    assert found.severity == "info"
    assert [index for index, _ in found.classes] == [9]
    assert "Only 2 of 10 classes" in found.text


@pytest.mark.parametrize(
    ("noise_rate", "earlier", "severity", "said"),
    [
        # 15% are harder than 0.9. What the estimate says goes before what time says.
        (0.08, None, "warning", "sure that they belong to another class"),
        (0.08, NOISY + 60 * (np.arange(10) == 9), "warning", "sure that they belong"),
        (0.01, NOISY, "info", "By the estimate few of their labels are wrong"),
        (0.05, None, "info", "too early"),
        (None, None, "info", "too early"),
        (None, NOISY, "warning", "sure that they belong"),
        (0.05, NOISY, "warning", "sure that they belong"),
        (None, NOISY + 60 * (np.arange(10) == 9), "info", "They were 46.9% earlier"),
    ],
)
def test_a_bump_that_may_be_of_samples_not_learned_yet(noise_rate, earlier, severity, said):
    found = health.noise(NOISY, NOISY[None], np.arange(1), noise_rate, False, 1, earlier)
    assert found.severity == severity
    assert said in found.text
    assert found.advice


def test_classes_left_out_of_a_list_are_counted():
    found = health.unseen(np.zeros(50), np.zeros(50))
    assert (len(found.classes), found.num_left_out) == (20, 30)
    rows = np.repeat(NOISY[None], 25, axis=0)
    found = health.noise(NOISY, rows, np.arange(25), 0.2, False, 25, NOISY)
    assert (len(found.classes), found.num_left_out) == (20, 5)


def test_classes_without_samples():
    earlier = np.array([1000.0, 500.0, 10.0, 0.0, 2.0])
    now = np.array([2000.0, 500.0, 20.0, 0.0, 2.0])
    found = health.unseen(now, earlier)
    assert found.severity == "warning"
    # Class 1 had a third of the samples, and none of the last 1,010. Class 4 had 2: it may be
    # chance that none came.
    assert found.classes == [(1, 500.0), (3, 0.0)]
    assert "1 of 5 classes has had no sample yet" in found.text
    assert health.unseen(now[:1], earlier[:1]).severity == "ok"


def test_weights_at_their_cap():
    weights = np.array([0.5] + [1.0] * 4 + [2.0] * 5)
    found = health.capped(HEALTHY, weights, 2.0)
    assert found.severity == "info"
    # By design weights may leave [1/2, 2], but not the ratio of the two.
    for scale in (1.0, 1.6):
        found = health.capped(HEALTHY, scale * weights, 2.0)
        assert found.severity == "info"
        assert found.text == (
            "4% of the samples have the largest weight by density and 60% the smallest: the ratio "
            "of the two is held at 4, the square of max_weight."
        )
    assert health.capped(HEALTHY, np.linspace(0.8, 1.2, 10), 2.0).severity == "ok"
    assert health.capped(HEALTHY, weights, None).severity == "ok"
    assert health.capped(np.zeros(10), np.full(10, np.nan), 2.0).severity == "ok"


@pytest.mark.parametrize(
    ("finding", "severity"),
    [
        (health.skipped(0, 100), "ok"),
        (health.skipped(3, 97), "warning"),
        (health.all_skipped(3), "warning"),
        (health.damaged([]), "ok"),
        (health.damaged(["margins"]), "warning"),
        (health.crowded(HEALTHY), "ok"),
        (health.crowded(np.array([99.0, 1.0] + [0.0] * 8)), "info"),
        (health.not_balanced(True), "ok"),
        (health.not_balanced(False), "info"),
    ],
)
def test_the_other_checks(finding, severity):
    assert finding.severity == severity
    # Who is told of something is told what to do.
    assert bool(finding.advice) == (severity != "ok")


def test_skipped_samples_are_given_as_a_share():
    assert "3.00%" in health.skipped(3, 97).text


@pytest.mark.parametrize(("noise_rate", "severity"), [(0.095, "info"), (0.004, "ok"), (None, "ok")])
def test_doubt_without_a_bump_is_told(noise_rate, severity):
    easy = np.array([90.0, *[1.0] * 8, 0.0])
    found = health.noise(easy, easy[None], np.array([0]), noise_rate, False, 1, None)
    assert found.severity == severity
    assert ("labels are doubted" in found.title) == (severity == "info")


def test_the_estimate_starts_where_training_starts_it():
    assert health.NOISE_RATE_AT_START == trust.INITIAL_NOISE_RATE
