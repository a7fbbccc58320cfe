"""GradientBalancedLoss by itself and in a plain Keras model: golden numbers, corners, errors."""

import inspect
import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import gb_keras
from gb_keras import loss_context
from tests import reference
from tests.gradients import differentiated

RNG = np.random.default_rng(3)
LOGITS = RNG.normal(0, 2, (40, 5)).astype(np.float32)
LABELS = np.minimum(RNG.geometric(0.5, 40) - 1, 4)
NEUTRAL = {"density_exponent": 0, "prior_strength": 0, "noise_exponent": 0, "label_smoothing": 0}
FROM_LOGITS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def value_and_gradient(loss, labels, outputs, sample_weight=None):
    value, gradient = differentiated(loss)(labels, outputs, sample_weight)
    return value.numpy(), gradient.numpy()


@pytest.mark.parametrize("bins", [1, 10, 30])
def test_full_inversion_without_memory_is_ghm_c(bins):
    loss = gb_keras.GradientBalancedLoss(
        FROM_LOGITS,
        bins=bins,
        momentum=0,
        density_exponent=1,
        prior_strength=0,
        max_weight=None,
        noise_exponent=0,
        label_smoothing=0,
    )
    expected = reference.ghm_c_loss(LOGITS.astype(np.float64), LABELS, bins)
    assert float(loss(LABELS, LOGITS)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"bins": 3, "density_exponent": 1.0, "max_weight": None},
        {"prior_strength": 0.3, "max_weight": 1.2},
        {"density_exponent": 0.0},
        {"noise_exponent": 0.0},
        {"label_smoothing": 0.0, "prior_strength": 0.0},
    ],
    ids=str,
)
def test_one_batch_equals_numpy(options):
    loss = gb_keras.GradientBalancedLoss(FROM_LOGITS, **options)
    value, gradient = value_and_gradient(loss, LABELS, LOGITS)
    expected, expected_gradient, _ = reference.Balance(5, **options).step(
        LOGITS.astype(np.float64), LABELS
    )
    assert value == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(gradient, expected_gradient, atol=1e-7)


@pytest.mark.parametrize("noise_exponent", [0.0, 2.0])
def test_a_margin_of_many_times_the_prior_is_finite(noise_exponent):
    base = loss_context.CurrentBatch(multi_label=False)
    loss = gb_keras.GradientBalancedLoss(
        FROM_LOGITS, prior_strength=20.0, noise_exponent=noise_exponent
    )
    value, gradient = value_and_gradient(loss, LABELS, LOGITS)
    assert 0 < value < 1e3
    assert np.isfinite(gradient).all()
    _, base_losses = loss._balanced_losses(tf.constant(LABELS), tf.constant(LOGITS), None, base)
    plain = -np.log(reference.softmax(LOGITS.astype(np.float64))[np.arange(len(LABELS)), LABELS])
    np.testing.assert_allclose(base_losses, plain, rtol=1e-5)


def test_prior_alone_is_logit_adjustment_with_the_batch_counts():
    loss = gb_keras.GradientBalancedLoss(FROM_LOGITS, **{**NEUTRAL, "prior_strength": 1})
    counts = np.bincount(LABELS, minlength=5) + 0.5
    q = reference.softmax(LOGITS.astype(np.float64) + np.log(counts / counts.sum()))
    expected = -np.log(q[np.arange(40), LABELS]).mean()
    assert float(loss(LABELS, LOGITS)) == pytest.approx(expected, rel=1e-5)


ONE_HOT = np.eye(5, dtype=np.float32)[LABELS]
SOFT = (0.7 * ONE_HOT + 0.3 * ONE_HOT[::-1]).astype(np.float32)
PROBABILITIES = reference.softmax(LOGITS)
BINARY = (RNG.random((40, 5)) < 0.3).astype(np.float32)


@pytest.mark.parametrize(
    ("base", "labels", "outputs"),
    [
        (FROM_LOGITS, LABELS, LOGITS),
        (FROM_LOGITS, LABELS[:, None], LOGITS),
        ("sparse_categorical_crossentropy", LABELS, PROBABILITIES),
        (keras.losses.sparse_categorical_crossentropy, LABELS, PROBABILITIES),
        ("categorical_crossentropy", ONE_HOT, PROBABILITIES),
        ("CategoricalCrossentropy", SOFT, PROBABILITIES),
        (keras.losses.CategoricalCrossentropy(True, label_smoothing=0.1), ONE_HOT, LOGITS),
        (keras.losses.CategoricalFocalCrossentropy(from_logits=True), ONE_HOT, LOGITS),
        ("categorical_focal_crossentropy", ONE_HOT, PROBABILITIES),
        (keras.losses.BinaryCrossentropy(from_logits=True), BINARY, LOGITS),
        ("binary_crossentropy", BINARY, 1 / (1 + np.exp(-LOGITS))),
        (keras.losses.BinaryCrossentropy(True, label_smoothing=0.2), BINARY, LOGITS),
        (keras.losses.BinaryFocalCrossentropy(from_logits=True), BINARY, LOGITS),
        (keras.losses.SparseCategoricalCrossentropy(True, reduction="sum"), LABELS, LOGITS),
        (keras.losses.SparseCategoricalCrossentropy(True, reduction=None), LABELS, LOGITS),
        (keras.losses.SparseCategoricalCrossentropy(True, ignore_class=0), LABELS, LOGITS),
        (gb_keras.baselines.SparseCategoricalFocalCrossentropy(), LABELS, LOGITS),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
@pytest.mark.parametrize("weighted", [False, True])
def test_neutral_options_leave_any_loss_as_it_is(base, labels, outputs, weighted):
    plain = keras.losses.get(base)
    if not isinstance(plain, keras.losses.Loss):
        plain = gb_keras.GradientBalancedLoss(base).base.loss
    weights = RNG.random(40).astype(np.float32) if weighted else None
    balanced = gb_keras.GradientBalancedLoss(base, **NEUTRAL)
    expected = value_and_gradient(plain, labels, outputs, weights)
    actual = value_and_gradient(balanced, labels, outputs, weights)
    np.testing.assert_allclose(actual[0], expected[0], rtol=2e-5)
    np.testing.assert_allclose(actual[1], expected[1], rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize(
    ("base", "labels"),
    [("kl_divergence", SOFT), (keras.losses.CategoricalGeneralizedCrossEntropy(q=0.7), LABELS)],
    ids=["kl_divergence", "generalized_cross_entropy"],
)
def test_neutral_options_leave_losses_of_probabilities_as_they_are(base, labels):
    # Only the part of the gradient along the simplex exists behind a softmax, so it is taken there.
    def behind_softmax(loss):
        return value_and_gradient(lambda y, z, _: loss(y, tf.nn.softmax(z)), labels, LOGITS)

    balanced = gb_keras.GradientBalancedLoss(base, **NEUTRAL)
    expected, actual = behind_softmax(balanced.base.loss), behind_softmax(balanced)
    np.testing.assert_allclose(actual[0], expected[0], rtol=2e-5)
    np.testing.assert_allclose(actual[1], expected[1], rtol=2e-5, atol=2e-6)


def test_masks_on_predictions_are_respected():
    outputs = tf.constant(LOGITS.reshape(8, 5, 5))
    labels = LABELS.reshape(8, 5)
    mask = tf.constant(RNG.random((8, 5)) < 0.6)
    outputs._keras_mask = mask
    balanced = gb_keras.GradientBalancedLoss(FROM_LOGITS, **NEUTRAL)(labels, outputs)
    outputs = tf.identity(outputs)
    outputs._keras_mask = mask
    assert float(balanced) == pytest.approx(float(FROM_LOGITS(labels, outputs)), rel=1e-6)


def test_masked_samples_move_nothing():
    weights = np.ones(40, np.float32)
    weights[20:] = 0
    loss = gb_keras.GradientBalancedLoss(FROM_LOGITS)
    _, all_of_it = value_and_gradient(loss, LABELS, LOGITS, weights)
    _, half_of_it = value_and_gradient(loss, LABELS[:20], LOGITS[:20])
    # The mean runs over 40 samples in one case, over 20 in the other, as Keras divides.
    np.testing.assert_allclose(2 * all_of_it[:20], half_of_it, atol=1e-7)
    assert not all_of_it[20:].any()


def test_multi_label_takes_a_weight_for_each_entry():
    known = (RNG.random((40, 5)) < 0.6).astype(np.float32)
    loss = gb_keras.GradientBalancedLoss(keras.losses.BinaryCrossentropy(True), **NEUTRAL)
    entries = np.logaddexp(0, LOGITS) - BINARY * LOGITS
    value, gradient = value_and_gradient(loss, BINARY, LOGITS, known)
    assert value == pytest.approx((entries * known).mean(), rel=1e-5)
    assert not gradient[known == 0].any()


def test_multi_label_balances_entries_by_their_own_norm():
    # One logit, two bins: three easy negatives (norm 0.12 each), one hard positive (norm 0.88).
    loss = gb_keras.GradientBalancedLoss(
        keras.losses.BinaryCrossentropy(True),
        bins=2,
        density_exponent=1,
        prior_strength=0,
        max_weight=None,
        noise_exponent=0,
    )
    logits, labels = np.full((4, 1), -2.0, np.float32), np.array([[0], [0], [0], [1]], np.float32)
    easy, hard = np.log1p(np.exp(-2)), 2 + np.log1p(np.exp(-2))
    # Bins of 3 and 1 samples: weights 2/3 and 2, each bin half of the total weight of 4.
    assert float(loss(labels, logits)) == pytest.approx((3 * easy * 2 / 3 + hard * 2) / 4)


@pytest.mark.parametrize("noise_exponent", [0.0, 0.5, 2.0, 5.0])
def test_with_a_margin_density_does_not_weigh_positives_against_negatives(noise_exponent):
    """All of the formula by NumPy, entry by entry; of a batch alone."""
    options = {"bins": 6, "density_exponent": 0.7, "max_weight": 3.0, "prior_strength": 0.8}
    loss = gb_keras.GradientBalancedLoss(
        keras.losses.BinaryCrossentropy(True), noise_exponent=noise_exponent, **options
    )
    positives = BINARY.sum(axis=0)
    prior = (positives + 0.5) / (len(BINARY) + 1)
    # A share of the labels is as good as a draw from the prior: more of negatives.
    doubt = 1 - np.exp(-noise_exponent / 4)
    targets = np.where(BINARY, 1 - doubt / 4 * (1 - prior), doubt * prior)
    mean = prior * (1 - doubt / 4 * (1 - prior)) + (1 - prior) * doubt * prior
    odds = mean / (1 - mean)
    probabilities = 1 / (1 + np.exp(-LOGITS) * odds**-0.8)
    norm = np.abs(probabilities - targets)
    bins = np.minimum(np.floor(norm * 6), 5).astype(int)
    exponent = 0.7
    if noise_exponent:
        # Of the positives predicted right, three bins, the model is sure of those in the first.
        of_bin = np.bincount(bins[BINARY == 1], minlength=6)
        crowd = np.clip((of_bin[0] / of_bin[:3].sum() - 0.3) / 0.2, 0, 1)
        # Doubted furthest, half of these or more are in the first: a crowd in full.
        assert 0 < crowd <= 1
        assert (crowd < 1) == (noise_exponent < 5)
        # Of the negatives more are predicted wrong than of the positives.
        trusted = of_bin[3:].sum() / (bins[BINARY == 0] >= 3).sum()
        assert 0 < trusted < 1
        exponent *= crowd * trusted**2
    weights = np.bincount(bins.ravel(), minlength=6)[bins] ** -exponent
    weights = np.clip(weights / weights.mean(), 1 / 3, 3)
    weights = weights / weights.mean()
    for sign in (0, 1):
        weights[sign == BINARY] /= weights[sign == BINARY].mean() ** 0.8
    if noise_exponent:
        weights[BINARY == 1] = 1
    # The hardest negatives are doubted most; what all push together stays.
    middle = (bins[BINARY == 0] + 0.5) / 6
    trust = (1 - middle) ** (2 * noise_exponent)
    kept = (middle * trust).sum() / middle.sum()
    assert (kept < 0.1) == (noise_exponent == 5)
    weights[BINARY == 0] *= trust / max(kept, 0.1)
    _, gradient = value_and_gradient(loss, BINARY, LOGITS)
    np.testing.assert_allclose(
        gradient, weights * (probabilities - targets) / BINARY.size, rtol=1e-4, atol=1e-7
    )


def test_multi_label_margins_are_log_odds_of_the_batch_without_a_model():
    loss = gb_keras.GradientBalancedLoss(
        keras.losses.BinaryCrossentropy(True), density_exponent=0, noise_exponent=0
    )
    positives = BINARY.sum(axis=0)
    shifted = LOGITS + np.log((positives + 0.5) / (40 - positives + 0.5))
    expected = (np.logaddexp(0, shifted) - BINARY * shifted).mean()
    value, gradient = value_and_gradient(loss, BINARY, LOGITS)
    assert value == pytest.approx(expected, rel=1e-5)
    expected_gradient = (1 / (1 + np.exp(-shifted)) - BINARY) / BINARY.size
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-4, atol=1e-7)


def test_deterministic_operations_are_kept_to():
    """Which the cross-entropy that gives loss and gradient at once is not, on a GPU."""
    program = """
        import numpy as np, tensorflow as tf, keras, gb_keras
        tf.config.experimental.enable_op_determinism()
        loss = gb_keras.GradientBalancedLoss(keras.losses.SparseCategoricalCrossentropy(True))
        specs = tf.TensorSpec([4], tf.int64), tf.TensorSpec([4, 3])
        graph = tf.function(lambda y, z: loss(y, z)).get_concrete_function(*specs).graph
        assert not any("SparseSoftmax" in node.type for node in graph.get_operations())
        print(float(loss(np.array([0, 1, 2, 0]), np.eye(4, 3, dtype="float32"))))
    """
    output = subprocess.run(
        [sys.executable, "-c", inspect.cleandoc(program)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    loss = gb_keras.GradientBalancedLoss(FROM_LOGITS)
    expected = loss(np.array([0, 1, 2, 0]), np.eye(4, 3, dtype="float32"))
    assert float(output) == pytest.approx(float(expected), rel=1e-5)


def test_empty_batch_is_no_error():
    loss = gb_keras.GradientBalancedLoss(FROM_LOGITS)
    value, gradient = value_and_gradient(loss, np.zeros((0,), int), np.zeros((0, 5), np.float32))
    assert gradient.shape == (0, 5)
    assert not np.any(np.isnan(value))


def test_plain_keras_model_balances_by_the_batch():
    inputs = RNG.normal(0, 1, (40, 3)).astype(np.float32)
    kernel = RNG.normal(0, 1, (3, 5)).astype(np.float32)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(5, use_bias=False)])
    model.set_weights([kernel])
    model.compile(keras.optimizers.SGD(0.5), gb_keras.GradientBalancedLoss(FROM_LOGITS))
    for start in range(0, 40, 10):
        batch = slice(start, start + 10)
        model.train_on_batch(inputs[batch], LABELS[batch])
        x = inputs[batch].astype(np.float64)
        # A new statistic for each batch: the plain model remembers nothing.
        _, gradient, _ = reference.Balance(5).step(x @ kernel, LABELS[batch])
        kernel = kernel - 0.5 * x.T @ gradient
    np.testing.assert_allclose(model.get_weights()[0], kernel, atol=1e-5)


def test_plain_keras_model_keeps_nothing_from_validation():
    def trained(validation):
        keras.utils.set_random_seed(1)
        model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(5)])
        model.compile("sgd", gb_keras.GradientBalancedLoss(FROM_LOGITS))
        model.fit(LOGITS, LABELS, epochs=2, verbose=0, validation_data=validation)
        return model.get_weights()

    without, with_validation = trained(None), trained((LOGITS[::-1], LABELS * 0))
    for a, b in zip(without, with_validation, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    "base", ["categorical_crossentropy", FROM_LOGITS, keras.losses.BinaryFocalCrossentropy(gamma=3)]
)
def test_config_round_trip(base):
    loss = gb_keras.GradientBalancedLoss(
        base,
        np.int64(7),
        momentum=0.5,
        density_exponent=np.float32(0.25),
        max_weight=None,
        noise_exponent=np.float64(1.5),
        label_smoothing=np.float32(0.125),
    )
    config = json.loads(json.dumps(keras.losses.serialize(loss)))
    again = keras.losses.deserialize(config)
    assert type(again) is gb_keras.GradientBalancedLoss
    assert again.get_config() == loss.get_config()
    assert again.base.loss.get_config() == loss.base.loss.get_config()


def test_the_loss_of_a_model_from_before_label_smoothing_loads():
    loss = gb_keras.GradientBalancedLoss(bins=7)
    config = loss.get_config()
    old = {name: value for name, value in config.items() if name != "label_smoothing"}
    again = gb_keras.GradientBalancedLoss.from_config({**old, "norm_floor": 0.05})
    assert again.get_config() == config


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bins": 0}, "bins=0"),
        ({"bins": -3}, "bins=-3"),
        ({"bins": 2.5}, "bins=2.5"),
        ({"bins": "10"}, "bins='10'"),
        ({"momentum": "0.9"}, "momentum='0.9'"),
        ({"density_exponent": None}, "density_exponent=None"),
        ({"max_weight": float("inf")}, "max_weight=inf"),
        ({"max_weight": True}, "max_weight=True"),
        ({"loss": lambda y_true, y_pred: y_pred}, "attribute `from_logits`"),
        ({"momentum": 1.0}, "momentum=1.0"),
        ({"momentum": -0.1}, "momentum=-0.1"),
        ({"momentum": float("nan")}, "momentum=nan"),
        ({"density_exponent": -1}, "density_exponent=-1"),
        ({"prior_strength": float("inf")}, "prior_strength=inf"),
        ({"max_weight": 0.5}, "max_weight=0.5"),
        ({"noise_exponent": -1}, "noise_exponent=-1"),
        ({"label_smoothing": 1.0}, "label_smoothing=1.0"),
        ({"label_smoothing": "0"}, "label_smoothing='0'"),
        ({"loss": "mse"}, "without logits"),
        ({"loss": keras.losses.Huber()}, "without logits"),
        ({"loss": keras.losses.CategoricalCrossentropy(axis=1)}, "axis=1"),
    ],
)
def test_wrong_arguments_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        gb_keras.GradientBalancedLoss(**options)


@pytest.mark.parametrize(
    ("base", "labels", "outputs", "message"),
    [
        (FROM_LOGITS, LABELS, LOGITS[:, 0], "num_classes"),
        (FROM_LOGITS, LABELS * 0, LOGITS[:, :1], "at least 2 classes"),
        (FROM_LOGITS, ONE_HOT, LOGITS, "integer labels"),
        (FROM_LOGITS, LABELS[:7], LOGITS, r"\(40,\)"),
        ("categorical_crossentropy", LABELS, PROBABILITIES, "sparse_categorical_crossentropy"),
        ("binary_crossentropy", LABELS, PROBABILITIES, "0/1 vector"),
        (FROM_LOGITS, LABELS + 1, LOGITS, r"\[0, 5\)"),
        (FROM_LOGITS, LABELS - 1, LOGITS, r"\[0, 5\)"),
        ("sparse_categorical_crossentropy", LABELS, LOGITS, "from_logits=True"),
        (FROM_LOGITS, LABELS, keras.activations.softmax(LOGITS), "from_logits=False"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_wrong_inputs_are_refused(base, labels, outputs, message):
    with pytest.raises(ValueError, match=message):
        gb_keras.GradientBalancedLoss(base)(labels, outputs)
