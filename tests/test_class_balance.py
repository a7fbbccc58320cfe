import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

import gb_keras
from gb_keras import class_balance, density_weights

counts = st.lists(st.lists(st.integers(0, 50), min_size=3, max_size=3), min_size=1, max_size=6).map(
    lambda rows: np.array(rows, np.float32)
)
weights = st.lists(st.floats(0.25, 4.0), min_size=3, max_size=3).map(
    lambda values: np.array(values, np.float32)
)


def scales(histogram, of_bin, trusted, strength):
    """As NumPy's."""
    trusted = None if trusted is None else tf.constant(trusted)
    return class_balance.class_scales(
        tf.constant(histogram), tf.constant(of_bin), trusted, strength
    ).numpy()


@given(counts, weights, st.floats(0.1, 1.0))
def test_with_a_full_margin_each_class_speaks_as_loud_as_its_count(histogram, of_bin, mean_trust):
    samples = histogram.sum(axis=1)
    found = scales(histogram, of_bin, mean_trust * samples, 1.0)
    total = found * (histogram @ of_bin) * mean_trust
    np.testing.assert_allclose(total, samples, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(found[samples == 0], 1.0)


@given(counts, weights)
def test_without_a_margin_nothing_is_scaled(histogram, of_bin):
    np.testing.assert_array_equal(scales(histogram, of_bin, histogram.sum(axis=1), 0.0), 1.0)


def test_a_class_of_which_no_label_is_trusted_speaks_ten_times_louder_at_most():
    found = scales(np.ones((2, 1), np.float32), np.ones(1, np.float32), [0.005, 0.5], 1.0)
    np.testing.assert_allclose(found, [10, 2], rtol=1e-5)


def test_rare_classes_are_raised_as_far_as_they_are_unlearned_and_labels_are_right():
    norms = tf.constant([0.0, 0.5, 1.0])
    found = [class_balance.rarity_exponents(norms, 0.5, rate).numpy() for rate in (0, 0.05, 0.1, 1)]
    expected = np.outer([1, 0.5, 0, 0], [0, 0.15, 0.3])
    np.testing.assert_allclose(found, expected, atol=1e-7)
    assert class_balance.rarity_exponents(norms, 9.0, 0.0).numpy().max() == 1.0


def test_the_margin_and_the_weights_of_a_model_follow_what_it_has_learned():
    statistic = gb_keras.GradientDensity(bins=10, momentum=0.9)
    statistic.build(2)
    loss = gb_keras.GradientBalancedLoss(
        keras.losses.SparseCategoricalCrossentropy(from_logits=True), bins=10, noise_exponent=0.0
    )
    seen = tf.constant([98.5, 0.5])
    # Nothing is learned: an exponent of 0.6 * 0.5 for both, of priors 0.99 and 0.01.
    ratio = 99.0**0.7
    margin = loss.margin_in_training(seen, statistic).numpy()
    np.testing.assert_allclose(np.exp(margin), [ratio / (1 + ratio), 1 / (1 + ratio)], rtol=1e-4)
    # The frequent class is learned, the rare one has a mean norm of 0.5.
    statistic.histogram.assign(np.eye(10)[[0, 5]] * [[9.0], [1.0]])
    np.testing.assert_allclose(statistic.class_norms, [0.0, 0.5], atol=1e-6)
    ratio = 0.99 / 0.01**0.85
    margin = loss.margin_in_training(seen, statistic).numpy()
    np.testing.assert_allclose(np.exp(margin), [ratio / (1 + ratio), 1 / (1 + ratio)], rtol=1e-4)


@given(st.lists(st.floats(0.0, 1e6), min_size=1, max_size=40))
def test_a_crowd_is_a_share(samples):
    assert 0.0 <= float(density_weights.crowding(tf.constant(samples, tf.float32))) <= 1.0


@pytest.mark.parametrize("bins", [1, 2, 3, 10, 30, 1000])
def test_all_easy_is_a_crowd_and_all_hard_is_none(bins):
    easy = np.eye(1, bins, dtype=np.float32)[0]
    assert float(density_weights.crowding(tf.constant(easy))) == 1.0
    if bins > 1:
        assert float(density_weights.crowding(tf.constant(easy[::-1].copy()))) == 0.0


def trained():
    """A model whose second class is rare and looks like the first, so that it is hardly trusted."""
    keras.utils.set_random_seed(3)
    inputs = keras.Input((4,))
    model = gb_keras.GradientBalancedModel(inputs, keras.layers.Dense(2)(inputs))
    loss = gb_keras.GradientBalancedLoss(
        keras.losses.SparseCategoricalCrossentropy(from_logits=True), bins=5, prior_strength=0.0
    )
    model.compile("adam", loss)
    generator = np.random.default_rng(3)
    labels = np.repeat([0, 1], [150, 10])
    model.fit(generator.normal(0, 1, (160, 4)), labels, batch_size=16, epochs=4, verbose=0)
    return model


def mean_trust(statistic):
    """Of each class, by what is kept."""
    return statistic.trusted.numpy() / statistic.histogram.numpy().sum(axis=1)


def test_the_trust_of_each_class_is_kept(tmp_path):
    model = trained()
    frequent, rare = mean_trust(model.gradient_density)
    assert 0 < rare < frequent <= 1
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras").gradient_density
    np.testing.assert_array_equal(loaded.trusted, model.gradient_density.trusted)


def test_a_statistic_saved_without_trust_has_trusted_all_labels():
    old = trained().gradient_density
    store = {}
    old.save_own_variables(store)
    del store["trusted"]
    new = gb_keras.GradientDensity(bins=5, momentum=0.99)
    new.load_own_variables(store)
    np.testing.assert_allclose(mean_trust(new), 1.0, rtol=1e-6)


def test_a_taken_over_class_keeps_its_trust():
    old = trained().gradient_density
    new = gb_keras.GradientDensity(bins=5, momentum=0.99)
    new.take_over(old, [1, None, 0])
    np.testing.assert_array_equal(new.trusted.numpy(), old.trusted.numpy()[[1, 0, 0]] * [1, 0, 1])


@pytest.mark.parametrize("strength", [1.5, 20.0])
def test_a_margin_above_the_full_one_asks_for_no_louder_classes(strength):
    histogram, of_bin = np.float32([[8, 0], [0, 2]]), np.float32([0.5, 2])
    full = scales(histogram, of_bin, [0.08, 1.0], 1.0)
    np.testing.assert_array_equal(scales(histogram, of_bin, [0.08, 1.0], strength), full)
