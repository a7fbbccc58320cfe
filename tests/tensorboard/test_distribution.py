"""Shares of a distribution of gradient norms, and the sentence about it, by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gb_keras.tensorboard import distribution
from tests.tensorboard.distributions import HEALTHY, NOISY, UNTRAINED


def test_shares_by_hand():
    # 6 + a quarter of 2 samples of 10.
    assert distribution.share_below(np.array([6.0, 2.0, 1.0, 1.0]), 0.3125) == pytest.approx(0.65)
    assert distribution.share_below(np.zeros(4), 0.5) == 0
    # Of the last bin the upper half: 0.5 of 10. Of nothing, nothing.
    assert distribution.share_between(np.array([6.0, 2.0, 1.0, 1.0]), 0.875, 1) == pytest.approx(
        0.05
    )
    assert distribution.share_between(np.zeros(4), 0.5, 1) == 0
    density = np.array([8.0, 2.0])
    # Gradients 8 * 0.25 and 2 * 0.75; with weights 2 * 0.5 and 1.5 * 2.
    before, after = distribution.gradient_shares(density, np.array([0.5, 2.0]), 0, 0.5)
    assert before == pytest.approx(2 / 3.5)
    assert after == pytest.approx(1 / 4)


@given(
    st.lists(st.floats(0, 1e6), min_size=1, max_size=50),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_shares_grow_with_the_norm(density, first, second):
    low, high = sorted((first, second))
    shares = [distribution.share_below(np.array(density), norm) for norm in (low, high)]
    assert 0 <= shares[0] <= shares[1] <= 1 + 1e-9


def test_words():
    weights = np.array([0.5] * 5 + [2.0] * 5)
    text = distribution.in_words(HEALTHY, weights, balanced=True)
    # 60 of 100 samples; gradients 3 of 11.56 before; half of 3 of 9.42 after.
    gradient = HEALTHY * (np.arange(10) + 0.5) / 10
    after = gradient[0] * 0.5 / (gradient * weights).sum()
    assert text == (
        "60% of the samples are easier than 0.1; weights cut their share of the gradient from "
        f"{gradient[0] / gradient.sum():.0%} to {after:.0%}."
    )
    assert "raise" in distribution.in_words(HEALTHY, weights[::-1], balanced=True)
    assert "not balanced" in distribution.in_words(HEALTHY, weights, balanced=False)
    assert distribution.in_words(HEALTHY, None, balanced=True) == (
        f"60% of the samples are easier than 0.1; they give {gradient[0] / gradient.sum():.0%} of "
        "the gradient. Their weights are not known."
    )
    assert distribution.in_words(np.zeros(3), np.ones(3), True) == "No sample has been counted yet."


def test_words_are_of_what_tells_most():
    # The clump gives 15 * 0.95 of 32.6, and half as much after; the easy ones are left alone.
    weights = np.array([1.0] * 9 + [0.5])
    gradient = NOISY * (np.arange(10) + 0.5) / 10
    after = gradient[9] / 2 / (gradient * weights).sum()
    assert distribution.in_words(NOISY, weights, balanced=True) == (
        "15% of the samples are harder than 0.9; weights cut their share of the gradient from "
        f"{gradient[9] / gradient.sum():.0%} to {after:.0%}."
    )
    assert distribution.in_words(UNTRAINED, np.ones(10), True).startswith(
        "90% of the samples are harder"
    )
    between = np.array([0.0] * 4 + [1.0, 1.0] + [0.0] * 4)
    assert distribution.in_words(between, np.ones(10), True) == (
        "Nearly all samples have a gradient norm between 0.1 and 0.9."
    )
    assert distribution.in_words(between, None, False).endswith("The model is not balanced.")
