"""Observed models: the statistic is that of a neutral balanced model, and training is untouched."""

import contextlib

import keras
import numpy as np
import pytest

import gb_keras
from gb_keras.observation import Observation
from tests import reference
from tests.replicas import two_replicas

RNG = np.random.default_rng(3)
FEATURES = RNG.normal(0, 1, (48, 6)).astype(np.float32)
LABELS = np.minimum(RNG.geometric(0.5, 48) - 1, 3)
MODES = {
    "graph": {},
    "eager": {"run_eagerly": True},
    "xla": {"jit_compile": True},
    "several_steps": {"steps_per_execution": 3},
    "mixed_float16": {},
    "two_replicas": {},
}


class Observer(keras.callbacks.Callback):
    """Observes as the TensorBoard callback does, and keeps what it saw at the end."""

    def set_model(self, model):
        super().set_model(model)
        self.observation = Observation(model)

    def on_train_end(self, logs=None):
        self.seen = {
            output.name: (
                output.statistic.histogram.numpy(),
                output.statistic.class_counts.numpy(),
                output.statistic.watched.mass.numpy(),
                output.balanced,
                output.statistic.watched.cells.numpy(),
            )
            for output in self.observation.outputs
        }
        self.observation.stop()


class Subclass(keras.Model):
    def __init__(self):
        super().__init__()
        self.classifier = keras.layers.Dense(4, dtype="float32")

    def call(self, inputs):
        return self.classifier(inputs)


def functional(cls):
    inputs = keras.Input((6,))
    hidden = keras.layers.Dense(8, activation="relu")(inputs)
    return cls(inputs, keras.layers.Dense(4, dtype="float32", name="classes")(hidden))


def neutral():
    base = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return gb_keras.GradientBalancedLoss(
        base, density_exponent=0, prior_strength=0, noise_exponent=0, label_smoothing=0
    )


def plain():
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def trained(mode, make, loss, callbacks=(), **fit):
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(1)
    if mode.startswith("mixed"):
        keras.config.set_dtype_policy(mode)
    scope = two_replicas().scope() if mode == "two_replicas" else contextlib.nullcontext()
    with scope:
        model = make()
        model.compile(keras.optimizers.SGD(0.1, momentum=0.9), loss=loss, **MODES[mode])
        fit = {"epochs": 2, "batch_size": 8, "shuffle": False, "verbose": 0, **fit}
        history = model.fit(FEATURES, LABELS, callbacks=list(callbacks), **fit)
    return model, history.history


@pytest.mark.parametrize("mode", MODES)
def test_the_statistic_of_a_plain_model_is_that_of_a_neutral_balanced_one(mode):
    observer, own = Observer(), Observer()
    validation = {"validation_data": (FEATURES[:9], LABELS[:9])}
    model, history = trained(
        mode, lambda: functional(keras.Model), plain(), [observer], **validation
    )
    balanced, _ = trained(
        mode, lambda: functional(gb_keras.GradientBalancedModel), neutral(), [own], **validation
    )
    untouched, expected = trained(mode, lambda: functional(keras.Model), plain(), **validation)

    histogram, counts, mass, is_balanced, cells = observer.seen["classes"]
    np.testing.assert_allclose(histogram, balanced.gradient_density.histogram, rtol=1e-5)
    # Two epochs, and no sample of the validation.
    np.testing.assert_array_equal(counts, 2 * np.bincount(LABELS, minlength=4))
    np.testing.assert_allclose(mass, own.seen["classes"][2], rtol=1e-5)
    # A plain model gives each sample the same weight.
    np.testing.assert_allclose(cells, [histogram.ravel()] * 2, rtol=1e-5, atol=1e-6)
    assert not is_balanced
    assert own.seen["classes"][3]
    assert history == expected
    for got, wanted in zip(model.get_weights(), untouched.get_weights(), strict=True):
        np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize("mode", ["graph", "eager", "xla", "two_replicas"])
def test_the_positive_mass_is_the_sum_of_the_norms(mode):
    observer = Observer()
    trained(
        mode,
        lambda: functional(gb_keras.GradientBalancedModel),
        gb_keras.GradientBalancedLoss(plain(), bins=1000),
        [observer],
    )
    histogram, _, (positive, negative), *_ = observer.seen["classes"]
    norms = histogram @ ((np.arange(1000) + 0.5) / 1000)
    # A norm is known to half a bin.
    np.testing.assert_allclose(positive, norms, atol=histogram.sum() / 2000)
    # Each softmax gradient sums to 0.
    assert positive.sum() == pytest.approx(negative.sum(), rel=1e-4)


@pytest.mark.parametrize("mode", MODES)
def test_the_balanced_histogram_counts_each_sample_with_its_weight(mode):
    expected = reference.Balance(4, bins=8)
    inputs = keras.Input((4,))
    if mode.startswith("mixed"):
        keras.config.set_dtype_policy(mode)
    with two_replicas().scope() if mode == "two_replicas" else contextlib.nullcontext():
        identity = keras.layers.Dense(
            4, use_bias=False, kernel_initializer="identity", dtype="float32"
        )
        model = gb_keras.GradientBalancedModel(inputs, identity(inputs))
        loss = gb_keras.GradientBalancedLoss(plain(), bins=8)
        model.compile(keras.optimizers.SGD(0.0), loss, **MODES[mode])
    logits = RNG.normal(0, 2, (48, 4)).astype(np.float16).astype(np.float32)
    observer = Observer()
    # Outside of the strategy's scope, as a user's call of fit() is.
    model.fit(logits, LABELS, batch_size=8, shuffle=False, verbose=0, callbacks=[observer])
    for start in range(0, 48, 8):
        expected.step(logits[start : start + 8], LABELS[start : start + 8])
    histogram, *_, cells = observer.seen["dense"]
    plain_cells, balanced = cells.reshape(2, 4, 8)
    np.testing.assert_allclose(histogram, expected.histogram, rtol=1e-4)
    np.testing.assert_allclose(plain_cells, expected.histogram, rtol=1e-4)
    np.testing.assert_allclose(balanced, expected.watched[1], rtol=1e-3)
    assert not np.allclose(balanced, plain_cells, rtol=0.3)


@pytest.mark.parametrize("mode", [mode for mode in MODES if mode != "mixed_float16"])
def test_in_the_long_run_one_batch_in_sixteen_is_watched(mode):
    """A momentum of a half remembers two batches: the first two of 20, then the 16th."""
    with two_replicas().scope() if mode == "two_replicas" else contextlib.nullcontext():
        inputs = keras.Input((4,))
        identity = keras.layers.Dense(
            4, use_bias=False, kernel_initializer=keras.initializers.Identity(), name="dense"
        )
        model = gb_keras.GradientBalancedModel(inputs, identity(inputs))
        loss = gb_keras.GradientBalancedLoss(
            plain(), bins=8, momentum=0.5, prior_strength=0, noise_exponent=0, label_smoothing=0
        )
        model.compile(keras.optimizers.SGD(0.0), loss, **MODES[mode])
    logits = RNG.normal(0, 2, (160, 4)).astype(np.float32)
    labels = RNG.integers(0, 4, 160)
    observer = Observer()
    model.fit(logits, labels, batch_size=8, shuffle=False, verbose=0, callbacks=[observer])
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    bins = (8 * (1 - probabilities[np.arange(160), labels])).astype(int)
    expected = np.zeros((4, 8))
    for number in (0, 1, 15):
        batch = np.zeros((4, 8))
        of_batch = slice(8 * number, 8 * number + 8)
        np.add.at(batch, (labels[of_batch], bins[of_batch]), 1)
        expected = batch if number == 0 else (expected + batch) / 2
    *_, cells = observer.seen["dense"]
    np.testing.assert_allclose(cells.reshape(2, 4, 8)[0], expected, rtol=1e-5)


def test_what_is_watched_later_is_the_mean_from_then_on():
    model = functional(gb_keras.GradientBalancedModel)
    model.compile(keras.optimizers.SGD(0.0), gb_keras.GradientBalancedLoss(plain(), bins=8))
    model.fit(FEATURES, LABELS, batch_size=8, shuffle=False, verbose=0)
    before = model.gradient_density.histogram.numpy()
    observer = Observer()
    fit = {"batch_size": 8, "shuffle": False, "verbose": 0, "callbacks": [observer]}
    model.fit(FEATURES[:8], LABELS[:8], **fit)
    after, _, mass, _, cells = observer.seen["classes"]
    plain_cells, balanced = cells.reshape(2, 4, 8)
    # One batch is a seventh of the histogram, and all of what was watched.
    np.testing.assert_allclose(plain_cells, before + 7 * (after - before), atol=1e-4)
    assert plain_cells.sum() == pytest.approx(8)
    weights = balanced[plain_cells > 0] / plain_cells[plain_cells > 0]
    assert (weights > 0).all()
    assert (weights < 2.5).all()
    assert mass[0].sum() == pytest.approx((plain_cells @ (np.arange(8) + 0.5) / 8).sum(), abs=0.5)


def test_mass_by_numpy():
    logits = RNG.normal(0, 1, (5, 3)).astype(np.float32)
    labels = np.array([0, 2, 2, 1, 0])
    exponentials = np.exp(logits)
    gradient = exponentials / exponentials.sum(1, keepdims=True) - np.eye(3)[labels]
    inputs = keras.Input((3,))
    identity = keras.layers.Dense(
        3, use_bias=False, kernel_initializer=keras.initializers.Identity()
    )
    model = gb_keras.GradientBalancedModel(inputs, identity(inputs))
    model.compile(keras.optimizers.SGD(0.0), loss=neutral())
    observer = Observer()
    # The sample of weight 0 counts nowhere; weights scale no gradient in the statistic.
    weights = np.array([1.0, 2.0, 0.0, 1.0, 1.0])
    model.fit(logits, labels, sample_weight=weights, batch_size=5, verbose=0, callbacks=[observer])
    kept = gradient[weights > 0]
    expected = [np.maximum(-kept, 0).sum(0), np.maximum(kept, 0).sum(0)]
    np.testing.assert_allclose(observer.seen["dense"][2], expected, rtol=1e-5)


@pytest.mark.parametrize("labels", ["integer", "soft"])
def test_mass_of_soft_and_hard_labels_is_the_same(labels):
    observer = Observer()
    keras.utils.set_random_seed(1)
    model = functional(keras.Model)
    if labels == "integer":
        model.compile("sgd", loss=plain())
        model.fit(FEATURES, LABELS, verbose=0, shuffle=False, callbacks=[observer])
    else:
        model.compile("sgd", loss=keras.losses.CategoricalCrossentropy(from_logits=True))
        one_hot = np.eye(4, dtype=np.float32)[LABELS]
        model.fit(FEATURES, one_hot, verbose=0, shuffle=False, callbacks=[observer])
    mass = observer.seen["classes"][2]
    norms = observer.seen["classes"][0] @ ((np.arange(30) + 0.5) / 30)
    np.testing.assert_allclose(mass[0], norms, atol=48 / 60)
    assert mass[0].sum() == pytest.approx(mass[1].sum(), rel=1e-4)


def test_multi_label_mass_comes_from_positive_and_negative_entries():
    targets = (RNG.random((48, 4)) < 0.3).astype(np.float32)
    observer = Observer()
    model = functional(keras.Model)
    model.compile("sgd", loss=keras.losses.BinaryCrossentropy(from_logits=True))
    model.fit(FEATURES, targets, batch_size=48, verbose=0, callbacks=[observer])
    histogram, counts, mass, _, cells = observer.seen["classes"]
    np.testing.assert_array_equal(counts, [(1 - targets).sum(0), targets.sum(0)])
    norms = histogram @ ((np.arange(30) + 0.5) / 30)
    np.testing.assert_allclose(cells, [histogram.ravel()] * 2, rtol=1e-5, atol=1e-6)
    # Positive entries pull up, negative ones push down.
    np.testing.assert_allclose(mass, norms[::-1], atol=48 / 60)


@pytest.mark.parametrize("mode", ["graph", "eager", "two_replicas"])
def test_a_subclassed_model(mode):
    observer = Observer()
    trained(mode, Subclass, plain(), [observer])
    np.testing.assert_array_equal(observer.seen["output"][1], 2 * np.bincount(LABELS, minlength=4))


def test_several_outputs_and_one_without_classes():
    inputs = keras.Input((6,))
    model = keras.Model(
        inputs,
        [
            keras.layers.Dense(4, activation="softmax", name="a")(inputs),
            keras.layers.Dense(1, name="b")(inputs),
            keras.layers.Dense(3, name="c")(inputs),
        ],
    )
    model.compile(
        "sgd",
        loss=[
            "sparse_categorical_crossentropy",
            "mse",
            keras.losses.CategoricalCrossentropy(from_logits=True),
        ],
    )
    observer = Observer()
    others = np.eye(3)[LABELS % 3]
    model.fit(
        FEATURES,
        [LABELS, FEATURES[:, :1], others],
        verbose=0,
        callbacks=[observer],
    )
    assert list(observer.seen) == ["a", "c"]
    np.testing.assert_array_equal(observer.seen["a"][1], np.bincount(LABELS, minlength=4))
    np.testing.assert_array_equal(observer.seen["c"][1], others.sum(0))


def test_a_balanced_loss_in_a_plain_model_is_observed_as_balanced():
    observer = Observer()
    trained(
        "graph", lambda: functional(keras.Model), gb_keras.GradientBalancedLoss(plain()), [observer]
    )
    assert observer.seen["classes"][3]


def test_nothing_stays_on_the_model():
    model, _ = trained("graph", lambda: functional(keras.Model), plain(), [Observer()])
    assert "train_step" not in vars(model)
    assert "build" not in vars(model._compile_loss)
    assert type(model._compile_loss._flat_losses[0].loss) is type(plain())
    model.fit(FEATURES, LABELS, verbose=0)


def test_two_observers_at_once_and_one_after_an_interruption():
    class Interrupt(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            raise KeyboardInterrupt

    first, second = Observer(), Observer()
    model, _ = trained("graph", lambda: functional(keras.Model), plain(), [first, second])
    for left, right in zip(first.seen["classes"], second.seen["classes"], strict=True):
        np.testing.assert_array_equal(left, right)
    assert "train_step" not in vars(model)
    assert type(model._compile_loss._flat_losses[0].loss) is type(plain())
    with pytest.raises(KeyboardInterrupt):
        model.fit(FEATURES, LABELS, verbose=0, callbacks=[Observer(), Interrupt()])
    last = Observer()
    model.fit(FEATURES, LABELS, verbose=0, callbacks=[last])
    np.testing.assert_array_equal(last.seen["classes"][1], np.bincount(LABELS, minlength=4))


def test_a_model_without_a_loss_over_classes_warns():
    inputs = keras.Input((6,))
    model = keras.Model(inputs, keras.layers.Dense(1)(inputs))
    model.compile("sgd", loss="mse")
    with pytest.warns(UserWarning, match="Expected a loss over classes"):
        model.fit(FEATURES, FEATURES[:, :1], verbose=0, callbacks=[Observer()])


def test_a_model_that_is_not_compiled_is_refused():
    with pytest.raises(ValueError, match="compiled"):
        Observation(functional(keras.Model))


def test_non_finite_gradients_leave_the_mass_as_it_was():
    observer = Observer()
    broken = FEATURES.copy()
    broken[40] = np.nan
    # No activation in between, some of which turn NaN into 0.
    inputs = keras.Input((6,))
    model = gb_keras.GradientBalancedModel(inputs, keras.layers.Dense(4, name="classes")(inputs))
    model.compile(keras.optimizers.SGD(0.0), loss=gb_keras.GradientBalancedLoss(plain()))
    model.fit(broken, LABELS, batch_size=8, shuffle=False, verbose=0, callbacks=[observer])
    assert np.isfinite(observer.seen["classes"][2]).all()
    assert observer.seen["classes"][2].sum() > 0
    assert int(model.gradient_density.num_skipped) == 1
