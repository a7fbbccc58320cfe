"""Trust in labels: what holds for every norm, prior and noise rate."""

import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from gb_keras import trust

shares = st.floats(0.0, 1.0, width=32)
class_numbers = st.integers(2, 100_000)


def agreement(norm, prior, noise_rate, num_classes):
    """The weights of norms, as NumPy's."""
    return trust.agreement_weights(tf.constant(norm), prior, noise_rate, num_classes).numpy()


@given(shares, shares, st.floats(1e-4, 0.5), st.integers(1, 100_000))
def test_weights_are_shares_whatever_is_given(norm, prior, noise_rate, num_classes):
    [weight] = agreement([norm], prior, noise_rate, num_classes)
    assert 0.0 <= weight <= 1.0


@given(st.floats(1e-4, 0.9), class_numbers)
def test_a_label_at_its_prior_counts_as_one_at_chance_whatever_the_prior(prior, num_classes):
    # A class's prior is what the margin alone gives: the model knows nothing of the sample.
    [weight] = agreement([1.0 - prior], prior, 0.1, num_classes)
    assert weight == pytest.approx(trust.AGREEMENT_AT_CHANCE, rel=1e-3)


@given(shares, shares, st.floats(1e-4, 0.9), st.floats(0.06, 0.5), class_numbers)
def test_the_less_a_label_agrees_the_less_it_counts(first, second, prior, noise_rate, num_classes):
    low, high = sorted([first, second])
    weights = agreement([low, high], prior, noise_rate, num_classes)
    assert weights[0] >= weights[1]


@given(st.floats(0.0, 0.99), st.floats(1e-4, 0.9), st.floats(0.06, 0.5), class_numbers)
def test_the_fewer_labels_are_wrong_the_less_agreement_is_asked_for(
    norm, prior, noise_rate, num_classes
):
    in_full, by_half, not_at_all = (
        agreement([norm], prior, rate, num_classes)[0] for rate in (noise_rate, 0.025, 0.0)
    )
    assert by_half == pytest.approx(in_full**0.5, rel=1e-4)
    assert not_at_all == 1.0


@given(st.lists(st.floats(0.0, 1e6, width=32), min_size=8, max_size=8))
def test_suspicion_is_a_share_and_none_where_positives_are_as_often_wrong(numbers):
    density = tf.reshape(tf.constant(numbers), [2, 4])
    share = float(trust.suspicion(density))
    assert 0.0 <= share <= 1.0
    if sum(numbers[6:]) >= sum(numbers[2:4]):
        assert share == 0.0


def test_suspicion_counts_what_is_wrong_of_an_odd_number_of_bins():
    # Of five bins those from 0.6 on: of 8 wrong negatives 6 are more than there are positives.
    density = tf.constant([[99.0, 9.0, 7.0, 5.0, 3.0], [1.0, 1.0, 1.0, 2.0, 0.0]])
    assert float(trust.suspicion(density)) == 0.75
    assert float(trust.suspicion(tf.zeros((2, 1)))) == 0.0
