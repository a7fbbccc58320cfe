"""Balanced models: equal to plain Keras where neutral, equal to NumPy where not, in every mode."""

import contextlib
import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import gb_keras
from tests import reference
from tests.replicas import two_replicas

NEUTRAL = {
    "density_exponent": 0.0,
    "prior_strength": 0.0,
    "noise_exponent": 0.0,
    "label_smoothing": 0.0,
}
NUM_SAMPLES, BATCH_SIZE = 48, 8
RNG = np.random.default_rng(7)
FEATURES = RNG.normal(0, 1, (NUM_SAMPLES, 6)).astype(np.float32)
LABELS = np.minimum(RNG.geometric(0.5, NUM_SAMPLES) - 1, 3)
ONE_HOT = np.eye(4, dtype=np.float32)[LABELS]
SEQUENCES = RNG.integers(0, 9, (NUM_SAMPLES, 5))
TOKEN_LABELS = RNG.integers(0, 4, (NUM_SAMPLES, 5))
IMAGES = RNG.normal(0, 1, (NUM_SAMPLES, 4, 4, 2)).astype(np.float32)
PIXEL_LABELS = RNG.integers(0, 4, (NUM_SAMPLES, 4, 4))
MANY_LABELS = (RNG.random((NUM_SAMPLES, 4)) < 0.3).astype(np.float32)


@dataclasses.dataclass
class Problem:
    """A model, its data and its loss. `outputs` makes the outputs from the input."""

    outputs: Callable[[Any], Any]
    x: np.ndarray = dataclasses.field(default_factory=lambda: FEATURES)
    y: Any = dataclasses.field(default_factory=lambda: LABELS)
    base: Any = dataclasses.field(
        default_factory=lambda: keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    fit: dict = dataclasses.field(default_factory=dict)
    optimizer: Callable = lambda: keras.optimizers.SGD(0.1, momentum=0.9)
    compile: dict = dataclasses.field(default_factory=dict)
    integer_input: bool = False


def dense(units=4, activation=None, **options):
    # Outputs in float32, as Keras advises under mixed precision.
    return keras.layers.Dense(units, activation=activation, dtype="float32", **options)


def hidden(inputs):
    return keras.layers.Dense(8, activation="relu")(inputs)


def with_state(inputs):
    x = keras.layers.BatchNormalization()(hidden(inputs))
    return dense()(keras.layers.Dropout(0.3)(x))


def regularised(inputs):
    x = keras.layers.Dense(8, activation="relu", kernel_regularizer="l2")(inputs)
    return dense()(keras.layers.ActivityRegularization(l2=0.1, dtype="float32")(x))


def tokens(inputs):
    return dense()(keras.layers.Embedding(9, 6)(inputs))


def masked_tokens(inputs):
    return dense()(keras.layers.Embedding(9, 6, mask_zero=True)(inputs))


def pixels(inputs):
    return keras.layers.Conv2D(4, 3, padding="same", dtype="float32")(inputs)


def two_outputs_and_a_plain_one(inputs):
    x = hidden(inputs)
    return [dense(name="a")(x), dense(3, "softmax", name="b")(x), dense(1, name="c")(x)]


PROBLEMS = {
    "integer_labels": Problem(lambda x: dense()(hidden(x))),
    "softmax_output": Problem(
        lambda x: dense(activation="softmax")(hidden(x)), base="sparse_categorical_crossentropy"
    ),
    "softmax_layer": Problem(
        lambda x: keras.layers.Softmax(dtype="float32")(dense()(hidden(x))),
        base="sparse_categorical_crossentropy",
    ),
    "one_hot": Problem(
        lambda x: dense(activation="softmax")(hidden(x)), y=ONE_HOT, base="categorical_crossentropy"
    ),
    "soft_labels": Problem(
        lambda x: dense()(hidden(x)),
        y=0.8 * ONE_HOT + 0.2 * ONE_HOT[::-1],
        base=keras.losses.CategoricalCrossentropy(from_logits=True),
    ),
    "label_smoothing": Problem(
        lambda x: dense()(hidden(x)),
        y=ONE_HOT,
        base=keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1),
    ),
    "multi_label": Problem(
        lambda x: dense(activation="sigmoid")(hidden(x)), y=MANY_LABELS, base="binary_crossentropy"
    ),
    "tokens": Problem(tokens, x=SEQUENCES, y=TOKEN_LABELS, integer_input=True),
    "masked_tokens": Problem(masked_tokens, x=SEQUENCES, y=TOKEN_LABELS, integer_input=True),
    "pixels": Problem(pixels, x=IMAGES, y=PIXEL_LABELS),
    "sample_weight": Problem(
        lambda x: dense()(hidden(x)),
        fit={"sample_weight": RNG.integers(0, 3, NUM_SAMPLES).astype(np.float32)},
    ),
    "class_weight": Problem(
        lambda x: dense()(hidden(x)), fit={"class_weight": {0: 0.5, 1: 1.0, 2: 2.0, 3: 0.0}}
    ),
    "regularised": Problem(regularised),
    "with_state": Problem(with_state),
    "several_outputs": Problem(
        two_outputs_and_a_plain_one,
        y=[LABELS, LABELS % 3, FEATURES[:, :1]],
        base=[
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            "sparse_categorical_crossentropy",
            "mse",
        ],
        compile={"loss_weights": [1.0, 0.5, 0.1]},
    ),
    "gradient_clipping": Problem(
        lambda x: dense()(hidden(x)), optimizer=lambda: keras.optimizers.Adam(0.01, clipnorm=0.1)
    ),
    "gradient_accumulation": Problem(
        lambda x: dense()(hidden(x)),
        optimizer=lambda: keras.optimizers.SGD(0.1, gradient_accumulation_steps=2),
    ),
}
MODES = {
    "eager": {"run_eagerly": True},
    "graph": {},
    "xla": {"jit_compile": True},
    "steps_per_execution": {"steps_per_execution": 3},
    "mixed_float16": {},
    "mixed_bfloat16": {},
    "two_replicas": {},
}


def balanced(base, **options):
    if isinstance(base, list):
        return [entry if entry == "mse" else balanced(entry, **options) for entry in base]
    return gb_keras.GradientBalancedLoss(base, **options)


def train(problem: Problem, mode: str, options: dict | None, epochs: int = 2):
    """Train a plain model (`options` None) or a balanced one; the model and its history."""
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(11)
    strategy = contextlib.nullcontext()
    if mode == "two_replicas":
        strategy = two_replicas().scope()
    keras.config.set_dtype_policy(mode if mode.startswith("mixed") else "float32")
    with strategy:
        dtype = "int32" if problem.integer_input else "float32"
        inputs = keras.Input(problem.x.shape[1:], dtype=dtype)
        outputs = problem.outputs(inputs)
        if options is None:
            model = keras.Model(inputs, outputs)
            loss = problem.base
        else:
            model = gb_keras.GradientBalancedModel(inputs, outputs)
            loss = balanced(problem.base, **options)
        model.compile(problem.optimizer(), loss, **problem.compile, **MODES[mode])
    history = model.fit(
        problem.x,
        problem.y,
        batch_size=BATCH_SIZE,
        epochs=epochs,
        shuffle=False,
        verbose=0,
        **problem.fit,
    )
    return model, history.history


# Keras's own accumulation synchronises replicas inside of a condition, which TensorFlow refuses.
NOT_IN_KERAS = {("gradient_accumulation", "two_replicas")}
# Modes that do the same to every loss: a few problems stand for all.
ONLY_IN = {
    "steps_per_execution": ("integer_labels", "with_state", "several_outputs"),
    "mixed_bfloat16": ("integer_labels", "one_hot", "multi_label", "several_outputs"),
}


@pytest.mark.parametrize(
    ("problem", "mode"),
    [
        (problem, mode)
        for problem in PROBLEMS
        for mode in MODES
        if (problem, mode) not in NOT_IN_KERAS and problem in ONLY_IN.get(mode, PROBLEMS)
    ],
)
def test_neutral_options_train_as_plain_keras(problem, mode):
    plain, plain_history = train(PROBLEMS[problem], mode, options=None)
    model, history = train(PROBLEMS[problem], mode, NEUTRAL)
    for a, b in zip(model.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(history["loss"], plain_history["loss"], rtol=1e-5)
    moved = np.abs(plain.get_weights()[0] - _initial(PROBLEMS[problem])).max()
    assert moved > 1e-3, "a model that does not train proves nothing"
    assert all(np.isfinite(statistic.histogram.numpy()).all() for statistic in statistics(model))


@pytest.mark.parametrize(("problem", "mode"), NOT_IN_KERAS)
@pytest.mark.parametrize("options", [None, NEUTRAL], ids=["plain", "neutral"])
def test_what_plain_keras_refuses_is_refused_in_the_same_way(problem, mode, options):
    with pytest.raises(RuntimeError, match="merge_call"):
        train(PROBLEMS[problem], mode, options)


def _initial(problem):
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(11)
    inputs = keras.Input(problem.x.shape[1:])
    return keras.Model(inputs, problem.outputs(inputs)).get_weights()[0]


def statistics(model):
    found = model.gradient_density
    return list(found.values()) if isinstance(found, dict) else [found]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("problem", ["integer_labels", "multi_label", "several_outputs", "tokens"])
def test_every_mode_gives_the_same_balance(problem, mode):
    expected, expected_history = train(PROBLEMS[problem], "eager", {"bins": 8})
    model, history = train(PROBLEMS[problem], mode, {"bins": 8})
    mixed = mode.startswith("mixed")
    # The weights of a sample follow its norm, which bfloat16 has with 8 bits.
    atol = {"mixed_bfloat16": 5e-2, "mixed_float16": 3e-2}.get(mode, 2e-5)
    for a, b in zip(model.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=atol)
    for a, b in zip(statistics(model), statistics(expected), strict=True):
        assert a.histogram.dtype == "float32"
        np.testing.assert_array_equal(a.class_counts.numpy(), b.class_counts.numpy())
        assert a.histogram.numpy().sum() == pytest.approx(b.histogram.numpy().sum(), rel=1e-5)
        if not mixed:
            # A norm on the edge of a bin may round to either side.
            np.testing.assert_allclose(a.histogram.numpy(), b.histogram.numpy(), atol=0.13)
    for name, values in expected_history.items():
        np.testing.assert_allclose(history[name], values, rtol=2e-2 if mixed else 1e-4)


@pytest.mark.parametrize("noise_rate", [0.05, 0.08, 0.3])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"bins": 4, "momentum": 0.5, "density_exponent": 1.0, "max_weight": None},
        {"momentum": 0.0, "prior_strength": 0.5, "max_weight": 1.3},
        {"density_exponent": 0.0},
        {"noise_exponent": 0.0},
        {"noise_exponent": 1.0, "label_smoothing": 0.0},
        {"label_smoothing": 0.3},
    ],
    ids=str,
)
@pytest.mark.parametrize("learned", [False, True], ids=["new", "learned"])
def test_training_equals_numpy(options, noise_rate, learned):
    keras.utils.set_random_seed(5)
    inputs = keras.Input((6,))
    model = gb_keras.GradientBalancedModel(inputs, dense(use_bias=False)(inputs))
    features = FEATURES
    if learned:
        # Where most samples are learned, labels are smoothed.
        features = 0.5 * FEATURES + np.eye(4, 6, dtype=np.float32)[LABELS]
        model.set_weights([7.0 * np.eye(6, 4, dtype=np.float32)])
    kernel = model.get_weights()[0].astype(np.float64)
    base = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(
        keras.optimizers.SGD(0.3), gb_keras.GradientBalancedLoss(base, **options), run_eagerly=True
    )
    expected = reference.Balance(4, noise_rate=noise_rate, **options)
    watched = model.gradient_density.watch()
    model.gradient_density.noise_rate.assign(noise_rate)
    for step in range(12):
        batch = slice(4 * step, 4 * step + 4)
        model.reset_metrics()  # Older versions of Keras go on with the running mean.
        logs = model.train_on_batch(features[batch], LABELS[batch], return_dict=True)
        loss, gradient, base_loss = expected.step(features[batch] @ kernel, LABELS[batch])
        kernel -= 0.3 * features[batch].T @ gradient
        assert logs["loss"] == pytest.approx(loss, rel=1e-4)
        assert logs["base_loss"] == pytest.approx(base_loss, rel=1e-4)
    np.testing.assert_allclose(model.get_weights()[0], kernel, atol=1e-5)
    statistic = model.gradient_density
    np.testing.assert_allclose(statistic.histogram.numpy(), expected.histogram, atol=1e-5)
    np.testing.assert_array_equal(statistic.class_counts.numpy(), expected.class_counts)
    both = watched.cells.numpy().reshape(2, *expected.histogram.shape)
    np.testing.assert_allclose(both, expected.watched, rtol=1e-4, atol=1e-5)
    assert float(statistic.noise_rate.numpy()) == pytest.approx(expected.noise_rate, rel=1e-4)
    assert int(statistic.num_skipped.numpy()) == 0


def simple_model(activation=None, loss_options=None, base=None, **compile_options):
    inputs = keras.Input((6,))
    model = gb_keras.GradientBalancedModel(inputs, dense(activation=activation)(inputs))
    base = base or keras.losses.SparseCategoricalCrossentropy(from_logits=activation is None)
    loss = gb_keras.GradientBalancedLoss(base, **(loss_options or {}))
    model.compile("sgd", loss, **compile_options)
    return model


def test_history_has_balanced_base_and_validation_losses():
    model = simple_model(metrics=["accuracy"], weighted_metrics=["accuracy"])
    weights = RNG.random(NUM_SAMPLES).astype(np.float32)
    before = model.evaluate(FEATURES, LABELS, sample_weight=weights, verbose=0, return_dict=True)
    history = model.fit(
        FEATURES,
        LABELS,
        sample_weight=weights,
        validation_data=(FEATURES, LABELS),
        batch_size=NUM_SAMPLES,
        verbose=0,
    ).history
    assert set(history) == {
        *("loss", "base_loss", "accuracy", "weighted_accuracy"),
        *("val_loss", "val_accuracy", "val_weighted_accuracy"),
    }
    # One batch: the training metrics are of the model as it was before the step, and the user's
    # weights, not the balance's, weigh them.
    assert history["base_loss"][0] == pytest.approx(before["loss"], rel=1e-5)
    for name in ("accuracy", "weighted_accuracy"):
        assert history[name][0] == pytest.approx(before[name], rel=1e-5)
    assert history["loss"][0] != pytest.approx(history["base_loss"][0], rel=1e-3)
    plain = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    expected = float(plain(LABELS, model(FEATURES)))
    assert history["val_loss"][0] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("method", ["evaluate", "test_on_batch"])
def test_evaluation_returns_what_a_plain_model_returns(method):
    model = simple_model(metrics=["accuracy"])
    plain = keras.Model(model.inputs, model.outputs)
    plain.compile(loss=keras.losses.SparseCategoricalCrossentropy(True), metrics=["accuracy"])
    options = {"verbose": 0, "batch_size": NUM_SAMPLES} if method == "evaluate" else {}
    model.fit(FEATURES, LABELS, verbose=0)
    model.reset_metrics()
    received = getattr(model, method)(FEATURES, LABELS, **options)
    expected = getattr(plain, method)(FEATURES, LABELS, **options)
    assert len(received) == len(expected)
    np.testing.assert_allclose(received, expected, rtol=1e-5)


def test_a_model_that_is_not_compiled_says_so():
    inputs = keras.Input((6,))
    model = gb_keras.GradientBalancedModel(inputs, dense()(inputs))
    for method in (model.fit, model.evaluate, model.train_on_batch, model.test_on_batch):
        with pytest.raises(ValueError, match="compile"):
            method(FEATURES, LABELS)


def test_the_class_of_the_loss_stands_for_its_defaults():
    inputs = keras.Input((6,))
    model = gb_keras.GradientBalancedModel(inputs, dense(activation="softmax")(inputs))
    model.compile("sgd", gb_keras.GradientBalancedLoss)
    model.fit(FEATURES, LABELS, verbose=0)
    np.testing.assert_array_equal(model.gradient_density.class_counts.numpy(), np.bincount(LABELS))


def test_evaluation_touches_no_statistic():
    model = simple_model()
    model.fit(FEATURES, LABELS, verbose=0)
    before = [v.numpy().copy() for v in model.gradient_density.variables]
    model.evaluate(FEATURES, LABELS, verbose=0)
    model.compute_loss(FEATURES, LABELS, model(FEATURES))
    for variable, value in zip(model.gradient_density.variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)


@pytest.mark.parametrize("eager", [True, False])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_non_finite_samples_are_skipped_and_counted(eager, value):
    model = simple_model(run_eagerly=eager)
    features = FEATURES[:BATCH_SIZE].copy()
    features[2] = value
    logs = model.train_on_batch(features, LABELS[:BATCH_SIZE], return_dict=True)
    statistic = model.gradient_density
    assert int(statistic.num_skipped.numpy()) == 1
    expected = np.bincount(np.delete(LABELS[:BATCH_SIZE], 2), minlength=4)
    np.testing.assert_array_equal(statistic.class_counts.numpy(), expected)
    assert statistic.histogram.numpy().sum() == BATCH_SIZE - 1
    # As in plain Keras the loss shows it, and nothing hides that the step has spoilt the model.
    assert np.isnan(logs["loss"])
    assert np.isnan(model.get_weights()[0]).any()


def test_loss_scaling_skips_a_non_finite_step_and_the_statistic_holds_on():
    keras.config.set_dtype_policy("mixed_float16")
    model = simple_model()
    weights = model.get_weights()
    features = FEATURES[:BATCH_SIZE].copy()
    features[0] = np.nan
    model.train_on_batch(features, LABELS[:BATCH_SIZE])
    np.testing.assert_array_equal(model.get_weights()[0], weights[0])
    assert int(model.gradient_density.num_skipped.numpy()) == 1
    model.train_on_batch(FEATURES[:BATCH_SIZE], LABELS[:BATCH_SIZE])
    assert np.abs(model.get_weights()[0] - weights[0]).max() > 0


@pytest.mark.parametrize("eager", [True, False])
def test_masked_and_empty_batches_change_nothing(eager):
    model = simple_model(run_eagerly=eager)
    model.train_on_batch(FEATURES[:BATCH_SIZE], LABELS[:BATCH_SIZE])
    before = [v.numpy().copy() for v in (*model.gradient_density.variables, *model.weights)]
    model.train_on_batch(
        FEATURES[:BATCH_SIZE], LABELS[:BATCH_SIZE], sample_weight=np.zeros(BATCH_SIZE)
    )
    model.train_on_batch(FEATURES[:0], LABELS[:0])
    after = [v.numpy() for v in (*model.gradient_density.variables, *model.weights)]
    for a, b in zip(after, before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_unlabelled_entries_stay_out_of_a_multi_label_statistic():
    model = simple_model(base=keras.losses.BinaryCrossentropy(from_logits=True))
    known = (RNG.random(MANY_LABELS.shape) < 0.5).astype(np.float32)
    model.fit(FEATURES, MANY_LABELS, sample_weight=known, verbose=0)
    counts = model.gradient_density.class_counts.numpy()
    np.testing.assert_array_equal(counts[0], (known * (1 - MANY_LABELS)).sum(axis=0))
    np.testing.assert_array_equal(counts[1], (known * MANY_LABELS).sum(axis=0))
    assert model.gradient_density.histogram.shape == (2, 4, 30)


def test_statistic_of_a_model_with_several_outputs_goes_by_name():
    model, history = train(PROBLEMS["several_outputs"], "graph", {})
    assert list(model.gradient_density) == ["a", "b"]
    assert {"a_loss", "b_loss", "c_loss", "a_base_loss", "b_base_loss"} < set(history)
    np.testing.assert_array_equal(
        model.gradient_density["b"].class_counts.numpy(), 2 * np.bincount(LABELS % 3)
    )


@pytest.mark.parametrize("as_dict", [True, False])
def test_losses_by_name_and_one_loss_for_all_outputs(as_dict):
    inputs = keras.Input((6,))
    outputs = {
        "second": dense(5, "softmax", name="second")(inputs),
        "first": dense(3, "softmax", name="first")(inputs),
    }
    if not as_dict:
        outputs = list(outputs.values())
    labels = {"second": LABELS, "first": LABELS % 3} if as_dict else [LABELS, LABELS % 3]
    loss = gb_keras.GradientBalancedLoss()
    for argument in (loss, {"first": loss, "second": gb_keras.GradientBalancedLoss(bins=5)}):
        model = gb_keras.GradientBalancedModel(inputs, outputs)
        model.compile("sgd", argument)
        model.fit(FEATURES, labels, verbose=0)
        counts = {k: v.class_counts.numpy() for k, v in model.gradient_density.items()}
        np.testing.assert_array_equal(counts["first"], np.bincount(LABELS % 3))
        np.testing.assert_array_equal(counts["second"], np.bincount(LABELS, minlength=5))


@keras.saving.register_keras_serializable(package="tests")
class Subclassed(keras.Model):
    """A model with a `call` of its own."""

    def __init__(self, **options):
        super().__init__(**options)
        self.hidden = keras.layers.Dense(8, activation="relu")
        self.dropout = keras.layers.Dropout(0.5)
        self.classifier = dense(activation="softmax")

    def call(self, inputs, training=None):
        return self.classifier(self.dropout(self.hidden(inputs), training=training))


class Mixed(gb_keras.GradientBalancedMixin, Subclassed):
    """An own subclass with the mixin."""


def any_models():
    inputs = keras.Input((6,))
    return {
        "functional": keras.Model(inputs, dense(activation="softmax")(hidden(inputs))),
        "sequential": keras.Sequential([inputs, dense(activation="softmax")]),
        "unbuilt_sequential": keras.Sequential([dense(activation="softmax")]),
        "subclassed": Subclassed(),
        "applications": keras.applications.MobileNetV3Small(
            (32, 32, 3), weights=None, classes=4, include_preprocessing=False
        ),
    }


@pytest.mark.parametrize(
    "kind", ["functional", "sequential", "unbuilt_sequential", "subclassed", "applications"]
)
def test_from_model_shares_layers_and_weights(kind):
    model = any_models()[kind]
    data = RNG.normal(0, 1, (16, 32, 32, 3)) if kind == "applications" else FEATURES[:16]
    balanced_model = gb_keras.GradientBalancedModel.from_model(model)
    balanced_model.compile("sgd", gb_keras.GradientBalancedLoss())
    balanced_model.fit(data, LABELS[:16], verbose=0)
    predicted = balanced_model.predict(data, verbose=0)
    assert isinstance(predicted, np.ndarray)
    assert predicted.shape == (16, 4)
    np.testing.assert_allclose(predicted, model.predict(data, verbose=0), atol=1e-6)
    assert isinstance(balanced_model(data), tf.Tensor)
    assert all(a is b for a, b in zip(balanced_model.weights, model.weights, strict=True))
    assert gb_keras.GradientBalancedModel.from_model(balanced_model) is balanced_model


def test_own_subclass_with_the_mixin_trains_as_the_wrapped_model():
    def trained(make):
        keras.utils.clear_session(free_memory=False)
        keras.utils.set_random_seed(2)
        model = make()
        model.compile("sgd", gb_keras.GradientBalancedLoss())
        model.fit(FEATURES, LABELS, epochs=2, shuffle=False, verbose=0)
        return model

    mixed = trained(Mixed)
    wrapped = trained(lambda: gb_keras.GradientBalancedModel.from_model(Subclassed()))
    for a, b in zip(mixed.get_weights(), wrapped.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_layers_and_weights_are_those_of_the_plain_model():
    plain = any_models()["functional"]
    model = gb_keras.GradientBalancedModel.from_model(plain)
    model.compile("sgd", gb_keras.GradientBalancedLoss())
    model.fit(FEATURES, LABELS, verbose=0)
    assert [a is b for a, b in zip(model.layers, plain.layers, strict=True)]
    assert model.count_params() == plain.count_params()
    plain.set_weights(model.get_weights())


def test_compile_starts_a_new_statistic():
    model = simple_model()
    model.fit(FEATURES, LABELS, verbose=0)
    model.compile("sgd", gb_keras.GradientBalancedLoss(model.loss.base.loss, bins=5))
    assert model.gradient_density.histogram.numpy().tolist() == [[0.0] * 5] * 4


def test_without_a_balanced_loss_the_mixin_is_a_plain_model():
    inputs = keras.Input((6,))
    model = gb_keras.GradientBalancedModel(inputs, dense()(inputs))
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    history = model.fit(FEATURES, LABELS, verbose=0).history
    assert set(history) == {"loss"}
    with pytest.raises(AttributeError, match="GradientBalancedLoss"):
        _ = model.gradient_density


def test_statistic_of_an_unknown_number_of_classes_says_so():
    model = Mixed()
    model.compile("sgd", gb_keras.GradientBalancedLoss())
    with pytest.raises(ValueError, match="first training batch"):
        _ = model.gradient_density.histogram


def test_logits_declared_as_probabilities_are_refused_at_compile():
    with pytest.raises(ValueError, match="from_logits=True"):
        simple_model(base="sparse_categorical_crossentropy")


def test_probabilities_declared_as_logits_are_refused_at_compile():
    base = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    with pytest.raises(ValueError, match="softmax"):
        simple_model("softmax", base=base)


def test_not_a_model_is_refused():
    with pytest.raises(TypeError, match=r"keras\.Model"):
        gb_keras.GradientBalancedModel.from_model("resnet50")


def test_labels_out_of_range_are_refused_in_a_graph_too():
    model = simple_model()
    with pytest.raises(tf.errors.InvalidArgumentError, match="label value"):
        model.fit(FEATURES, LABELS + 1, verbose=0)


def test_wrong_label_shape_is_refused_at_the_first_batch():
    model = simple_model()
    with pytest.raises(ValueError, match="categorical_crossentropy"):
        model.fit(FEATURES, ONE_HOT, verbose=0)


class OwnStep(gb_keras.GradientBalancedMixin, keras.Model):
    """A training step as in Keras's guide, in the body of the class."""

    def train_step(self, data):
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            y_pred = self(x, training=True)
            loss = self.compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight)
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply(gradients, self.trainable_variables)
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(loss)
            else:
                metric.update_state(y, y_pred)
        return {metric.name: metric.result() for metric in self.metrics}


class OwnLoss(gb_keras.GradientBalancedMixin, keras.Model):
    """A loss of its own that calls the one it was compiled with."""

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return self.loss(y, y_pred, sample_weight)


class OwnStepAndLoss(OwnStep):
    """A step of its own, which computes its loss by itself."""

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            loss = self.loss(y, self(x, training=True))
        gradients = tape.gradient(loss, self.trainable_variables)
        self.optimizer.apply(gradients, self.trainable_variables)
        return {"loss": loss}

    def test_step(self, data):
        x, y = data
        # Not "loss": Keras puts its metric of that name, which this step leaves alone, there.
        return {"own_loss": self.loss(y, self(x, training=False))}


@pytest.mark.parametrize("cls", [OwnStep, OwnLoss, OwnStepAndLoss])
def test_an_own_step_or_loss_in_the_body_of_the_class_is_balanced(cls):
    def trained(cls):
        keras.utils.set_random_seed(4)
        inputs = keras.Input((6,))
        model = cls(inputs, dense()(inputs))
        base = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.SGD(0.1), loss=gb_keras.GradientBalancedLoss(base))
        model.fit(FEATURES, LABELS, batch_size=8, shuffle=False, epochs=2, verbose=0)
        return model

    expected, model = trained(gb_keras.GradientBalancedModel), trained(cls)
    for got, wanted in zip(model.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_allclose(got, wanted, atol=1e-6)
    np.testing.assert_allclose(
        model.gradient_density.histogram, expected.gradient_density.histogram, rtol=1e-5
    )
    before = model.gradient_density.class_counts.numpy()
    logs = model.evaluate(FEATURES, LABELS, batch_size=48, verbose=0, return_dict=True)
    base = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    assert logs.get("own_loss", logs.get("loss")) == pytest.approx(
        float(base(LABELS, model(FEATURES))), rel=1e-5
    )
    np.testing.assert_array_equal(model.gradient_density.class_counts, before)


def test_a_step_that_calls_one_of_several_losses_is_told_to_call_compute_loss():
    inputs = keras.Input((6,))

    class StepOfOne(gb_keras.GradientBalancedMixin, keras.Model):
        def train_step(self, data):
            x, y = data
            return {"loss": self.loss(y[0], self(x, training=True)[0])}

    model = StepOfOne(inputs, [dense(name="a")(inputs), dense(name="b")(inputs)])
    loss = gb_keras.GradientBalancedLoss(
        keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    model.compile("sgd", loss=loss)
    with pytest.raises(ValueError, match=r"self\.compute_loss"):
        model.fit(FEATURES, [LABELS, LABELS], verbose=0)


def test_the_mixin_comes_first():
    with pytest.raises(TypeError, match=r"before keras\.Model"):

        class Wrong(keras.Model, gb_keras.GradientBalancedMixin):
            pass


def test_from_model_refuses_a_step_it_would_not_call():
    class Own(keras.Model):
        def train_step(self, data):
            return {}

    with pytest.raises(TypeError, match="GradientBalancedMixin"):
        gb_keras.GradientBalancedModel.from_model(Own())


def test_train_on_batch_returns_what_a_plain_model_returns():
    inputs = keras.Input((6,))
    model = gb_keras.GradientBalancedModel(inputs, dense(activation="softmax")(inputs))
    model.compile("sgd", loss=gb_keras.GradientBalancedLoss(), metrics=["accuracy"])
    loss, accuracy = model.train_on_batch(FEATURES, LABELS)
    assert loss > 0
    assert 0 <= accuracy <= 1
    logs = model.train_on_batch(FEATURES, LABELS, return_dict=True)
    assert set(logs) == {"loss", "accuracy", "base_loss"}


@pytest.mark.parametrize("nested", [False, True])
def test_outputs_in_a_dict_whose_keys_are_names_of_other_layers(nested):
    inputs = keras.Input((6,))
    first = dense(4, "softmax", name="a")(inputs)
    second = dense(3, "softmax", name="zz")(inputs)
    outputs = {"b": first, "a": second}
    labels = {"b": LABELS, "a": LABELS % 3}
    loss: Any = {"a": gb_keras.GradientBalancedLoss(), "b": gb_keras.GradientBalancedLoss()}
    if nested:
        third = dense(2, "softmax", name="c")(inputs)
        outputs = {"p": [first, second], "q": third}
        labels = {"p": (LABELS, LABELS % 3), "q": LABELS % 2}
        loss = {
            "p": [gb_keras.GradientBalancedLoss(), gb_keras.GradientBalancedLoss()],
            "q": gb_keras.GradientBalancedLoss(),
        }
    model = gb_keras.GradientBalancedModel(inputs, outputs)
    model.compile("sgd", loss=loss)
    data = tf.data.Dataset.from_tensor_slices((FEATURES, labels)).batch(8)
    model.fit(data, shuffle=False, verbose=0)
    sizes = {name: found.num_classes for name, found in model.gradient_density.items()}
    assert sizes == ({"a": 4, "zz": 3, "q": 2} if nested else {"b": 4, "a": 3})
    for found in model.gradient_density.values():
        expected = np.bincount(LABELS % found.num_classes, minlength=found.num_classes)
        np.testing.assert_array_equal(found.class_counts, expected)


def test_callbacks_know_which_way_is_better():
    inputs = keras.Input((6,))
    model = gb_keras.GradientBalancedModel(inputs, dense(activation="softmax")(inputs))
    model.compile(
        "sgd",
        loss=gb_keras.GradientBalancedLoss(),
        metrics=[
            gb_keras.metrics.BalancedAccuracy(),
            gb_keras.metrics.ExpectedCalibrationError(from_logits=False, name="ece"),
        ],
    )
    stop = [
        keras.callbacks.EarlyStopping(monitor=monitor, patience=5)
        for monitor in ("val_balanced_accuracy", "val_ece")
    ]
    model.fit(FEATURES, LABELS, validation_data=(FEATURES, LABELS), verbose=0, callbacks=stop)
    operators = [callback.monitor_op.__name__ for callback in stop]
    assert operators == ["greater", "less"]


def test_a_loss_that_takes_its_mean_by_itself_is_refused():
    class Mean(keras.losses.Loss):
        from_logits = True

        def call(self, y_true, y_pred):
            return tf.reduce_mean(
                keras.losses.sparse_categorical_crossentropy(y_true, y_pred, from_logits=True)
            )

    loss = gb_keras.GradientBalancedLoss(Mean())
    with pytest.raises(ValueError, match="one loss for each sample"):
        loss(LABELS, FEATURES[:, :4])


def test_a_whole_model_where_its_ends_belong_is_pointed_to_from_model():
    whole = keras.Sequential([keras.Input((6,)), dense()])
    with pytest.raises(TypeError, match=r"GradientBalancedModel\.from_model\(model\)"):
        gb_keras.GradientBalancedModel(whole)


@pytest.mark.parametrize("run_eagerly", [False, True])
def test_logits_of_an_unbuilt_model_are_not_taken_for_probabilities(run_eagerly):
    """Its outputs are not known before it trains."""
    model = gb_keras.GradientBalancedModel.from_model(keras.Sequential([dense()]))
    model.compile("sgd", gb_keras.GradientBalancedLoss(), run_eagerly=run_eagerly)
    expected = ValueError if run_eagerly else tf.errors.InvalidArgumentError
    with pytest.raises(expected, match=r"Expected probabilities in \[0, 1\]"):
        model.fit(20 * FEATURES, LABELS, verbose=0)
