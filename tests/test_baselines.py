import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gb_keras import baselines
from gb_keras.callbacks import GradientBalanceTensorBoard
from gb_keras.normalized_dense import NormalizedDense
from tests.gradients import differentiated
from tests.reference import softmax

COUNTS = [900, 90, 9, 1]
LABELS = np.array([0, 1, 3, 2, 0, 3])
LOGITS = np.random.default_rng(0).normal(size=(6, 4)).astype("float32") * 3


def cross_entropy(labels, logits):
    """Independent of Keras, in float64."""
    logits = logits.astype("float64")
    logits = logits - logits.max(axis=1, keepdims=True)
    return np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(labels)), labels]


def one_hot(labels):
    return np.eye(4)[labels]


LOSSES = {
    "logit_adjusted": lambda **kw: baselines.LogitAdjustedCrossentropy(COUNTS, tau=0.7, **kw),
    "ldam": lambda **kw: baselines.LDAMLoss(COUNTS, max_margin=0.4, scale=5.0, **kw),
    "focal": lambda **kw: baselines.SparseCategoricalFocalCrossentropy(gamma=1.5, **kw),
    "label_smoothed": lambda **kw: baselines.LabelSmoothedCrossentropy(0.2, **kw),
    "generalised": lambda **kw: baselines.GeneralisedCrossentropy(0.6, **kw),
    "symmetric": lambda **kw: baselines.SymmetricCrossentropy(0.3, 0.7, -5.0, **kw),
    "weighted": lambda **kw: baselines.ClassWeightedLoss(
        keras.losses.SparseCategoricalCrossentropy(from_logits=True), [0.5, 1.0, 2.0, 0.0], **kw
    ),
}


def reference(name):
    """Loss of each sample, from the formulas of the papers."""
    plain = cross_entropy(LABELS, LOGITS)
    if name == "logit_adjusted":
        return cross_entropy(LABELS, LOGITS + 0.7 * np.log(np.array(COUNTS) / 1000))
    if name == "ldam":
        quartic = np.array(COUNTS, float) ** -0.25
        margins = 0.4 * quartic / quartic.max()
        return cross_entropy(LABELS, LOGITS - 5.0 * one_hot(LABELS) * margins)
    if name == "focal":
        return (1 - np.exp(-plain)) ** 1.5 * plain
    if name == "label_smoothed":
        target = 0.8 * one_hot(LABELS) + 0.2 / 4
        return -(target * np.log(softmax(LOGITS.astype("float64")))).sum(axis=1)
    if name == "generalised":
        return (1 - np.exp(-plain) ** 0.6) / 0.6
    if name == "symmetric":
        log_label = np.where(one_hot(LABELS) > 0, 0.0, -5.0)
        return 0.3 * plain + 0.7 * -(softmax(LOGITS.astype("float64")) * log_label).sum(axis=1)
    return np.array([0.5, 1.0, 2.0, 0.0])[LABELS] * plain


@pytest.mark.parametrize("name", LOSSES)
def test_losses_follow_their_formulas(name):
    loss = LOSSES[name](reduction="none")
    np.testing.assert_allclose(loss(LABELS, LOGITS), reference(name), rtol=1e-5)
    np.testing.assert_allclose(loss(LABELS[:, np.newaxis], LOGITS), reference(name), rtol=1e-5)
    # More axes, as tokens or pixels have.
    shaped = loss(LABELS.reshape(2, 3), LOGITS.reshape(2, 3, 4))
    np.testing.assert_allclose(np.ravel(shaped), reference(name), rtol=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_reduction_and_sample_weights_are_those_of_keras(name):
    loss = LOSSES[name]()
    weights = np.array([1.0, 0.0, 2.0, 0.5, 1.0, 3.0])
    np.testing.assert_allclose(loss(LABELS, LOGITS), reference(name).mean(), rtol=1e-5)
    np.testing.assert_allclose(
        loss(LABELS, LOGITS, weights), (weights * reference(name)).mean(), rtol=1e-5
    )


@pytest.mark.parametrize("name", LOSSES)
def test_losses_survive_their_config(name):
    loss = LOSSES[name](reduction="sum", name="mine", dtype="float64")
    config = keras.losses.serialize(loss)
    again = keras.losses.deserialize(config)
    assert type(again) is type(loss)
    assert (again.name, again.reduction, again.dtype) == ("mine", "sum", "float64")
    assert config["registered_name"] == f"gb_keras>{type(loss).__name__}"
    np.testing.assert_allclose(again(LABELS, LOGITS), reference(name).sum(), rtol=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_shapes_are_checked(name):
    of_other_classes = one_hot(LABELS)[:, :3]
    # Logit adjustment alone takes labels that are shares of classes.
    wrong = [of_other_classes] if name == "logit_adjusted" else [of_other_classes, one_hot(LABELS)]
    for labels in wrong:
        with pytest.raises(ValueError, match="integer labels"):
            LOSSES[name]()(labels, LOGITS)
    if name in ("logit_adjusted", "ldam", "weighted"):
        with pytest.raises(ValueError, match="logits of 4 classes"):
            LOSSES[name]()(LABELS, LOGITS[:, :3])


def test_effective_number_by_hand():
    # beta = 1/2: E_1 = 1, E_2 = 1.5, E_3 = 1.75; weights 1, 2/3, 4/7, of sum 47/21; times 63/47.
    weights = baselines.class_balanced_weights([1, 2, 3], beta=0.5)
    expected = [63 / 47, 63 / 47 * 2 / 3, 63 / 47 * 4 / 7]
    assert list(weights) == [0, 1, 2]
    np.testing.assert_allclose(list(weights.values()), expected)


@given(
    counts=st.lists(st.integers(0, 10**6), min_size=1, max_size=30).filter(any),
    beta=st.sampled_from([0.0, 0.9, 0.99, 0.9999, 0.999999]),
)
@settings(max_examples=50, deadline=None)
def test_class_balanced_weights_sum_to_the_number_of_classes_that_exist(counts, beta):
    weights = np.array(list(baselines.class_balanced_weights(counts, beta).values()))
    counts = np.array(counts)
    assert weights.sum() == pytest.approx((counts > 0).sum())
    assert (weights[counts == 0] == 0).all()
    order = np.argsort(counts[counts > 0])
    assert (np.diff(weights[counts > 0][order]) <= 1e-9).all()
    if beta == 0:
        np.testing.assert_allclose(weights[counts > 0], 1.0)


def test_corners_are_cross_entropy():
    plain = cross_entropy(LABELS, LOGITS).mean()
    for loss in (
        baselines.LogitAdjustedCrossentropy(COUNTS, tau=0.0),
        baselines.LogitAdjustedCrossentropy([5, 5, 5, 5]),
        baselines.LDAMLoss(COUNTS, max_margin=0.0),
        baselines.SparseCategoricalFocalCrossentropy(gamma=0.0),
        baselines.LabelSmoothedCrossentropy(0.0),
        baselines.GeneralisedCrossentropy(q=1e-6),
        baselines.SymmetricCrossentropy(alpha=1.0, beta=0.0),
    ):
        np.testing.assert_allclose(loss(LABELS, LOGITS), plain, rtol=1e-5)


def test_focal_is_that_of_keras_for_one_hot_labels():
    keras_loss = keras.losses.CategoricalFocalCrossentropy(alpha=1.0, gamma=2.0, from_logits=True)
    np.testing.assert_allclose(
        baselines.SparseCategoricalFocalCrossentropy()(LABELS, LOGITS),
        keras_loss(one_hot(LABELS).astype("float32"), LOGITS),
        rtol=1e-4,
    )


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
def test_focal_has_finite_slopes_where_a_sample_is_perfect_or_hopeless(gamma):
    loss = baselines.SparseCategoricalFocalCrossentropy(gamma)
    value, gradient = differentiated(loss)([0, 0], [[200.0, 0.0], [0.0, 200.0]])
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


def test_a_class_without_samples_is_finite():
    counts = [10, 0, 5]
    logits = np.zeros((3, 3), "float32")
    labels = np.arange(3)
    for loss in (
        baselines.LogitAdjustedCrossentropy(counts, reduction="none"),
        baselines.LDAMLoss(counts, reduction="none"),
    ):
        assert np.isfinite(loss(labels, logits)).all()
    assert baselines.LDAMLoss(counts).margins[1] == 0.5


def test_ldam_of_scaled_cosines_is_the_authors_formula():
    """softmax cross-entropy of `s * (cos - margin)`, as in the authors' code."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(6, 5)).astype("float32")
    layer = NormalizedDense(4, scale=30.0)
    logits = layer(features)
    kernel = np.asarray(layer.kernel, "float64")
    cosines = (features / np.linalg.norm(features, axis=1, keepdims=True)) @ (
        kernel / np.linalg.norm(kernel, axis=0)
    )
    quartic = np.array(COUNTS, float) ** -0.25
    margins = 0.5 * quartic / quartic.max()
    expected = cross_entropy(LABELS, 30.0 * (cosines - one_hot(LABELS) * margins))
    loss = baselines.LDAMLoss(COUNTS, max_margin=0.5, scale=30.0, reduction="none")
    np.testing.assert_allclose(loss(LABELS, logits), expected, rtol=1e-4)


def test_normalized_dense_survives_its_config():
    layer = NormalizedDense(3, scale=7.0, name="cosines", dtype="float32", trainable=False)
    again = keras.layers.deserialize(keras.layers.serialize(layer))
    assert (again.units, again.scale, again.name, again.trainable) == (3, 7.0, "cosines", False)
    assert again.compute_output_shape((None, 5)) == (None, 3)


def drw_weights(beta=0.9999):
    """Cui's weights at mean 1 over samples: sum_c n_c w_c = sum_c n_c."""
    counts = np.array(COUNTS, float)
    weights = (1 - beta) / (1 - beta**counts)
    return weights * counts.sum() / (weights * counts).sum()


def compiled(jit_compile=False):
    model = keras.Sequential([keras.Input((4,)), NormalizedDense(4)])
    cross_entropy_loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(
        keras.optimizers.SGD(0.0),  # The weights stay, so that losses can be compared.
        loss=baselines.ClassWeightedLoss(cross_entropy_loss, [1.0] * 4),
        jit_compile=jit_compile,
    )
    return model


@pytest.mark.parametrize("jit_compile", [False, True])
def test_deferred_weights_reach_the_compiled_step(jit_compile):
    model = compiled(jit_compile)
    callback = baselines.DeferredReweighting(COUNTS, start_epoch=2)
    x = np.random.default_rng(1).normal(size=(6, 4)).astype("float32")
    history = model.fit(x, LABELS, batch_size=6, epochs=4, callbacks=[callback], verbose=0).history
    losses = cross_entropy(LABELS, np.asarray(model(x)))
    np.testing.assert_allclose(history["loss"][:2], losses.mean(), rtol=1e-5)
    np.testing.assert_allclose(
        history["loss"][2:], (drw_weights()[LABELS] * losses).mean(), rtol=1e-5
    )


def test_deferred_weights_are_saved_and_hold_on_resume(tmp_path):
    model = compiled()
    x = np.random.default_rng(1).normal(size=(6, 4)).astype("float32")
    callback = baselines.DeferredReweighting(COUNTS, start_epoch=1)
    model.fit(x, LABELS, epochs=2, callbacks=[callback], verbose=0)
    model.save(tmp_path / "model.keras")
    restored = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(restored.loss.class_weights, drw_weights(), rtol=1e-6)
    assert restored.evaluate(x, LABELS, verbose=0) == model.evaluate(x, LABELS, verbose=0)
    # A new process starts with weights of 1; the epoch tells which ones to take.
    resumed = compiled()
    callback = baselines.DeferredReweighting(COUNTS, start_epoch=1)
    resumed.fit(x, LABELS, initial_epoch=1, epochs=2, callbacks=[callback], verbose=0)
    np.testing.assert_allclose(resumed.loss.class_weights, drw_weights(), rtol=1e-6)


def test_a_loss_with_weights_trains_though_it_cannot_be_watched(tmp_path):
    model = compiled()
    x = np.random.default_rng(1).normal(size=(6, 4)).astype("float32")
    with pytest.warns(UserWarning, match="Nothing is observed"):
        model.fit(x, LABELS, verbose=0, callbacks=[GradientBalanceTensorBoard(tmp_path)])
    losses = cross_entropy(LABELS, np.asarray(model(x)))
    np.testing.assert_allclose(model.evaluate(x, LABELS, verbose=0), losses.mean(), rtol=1e-5)


def test_deferred_weights_have_mean_one_over_samples():
    weights = baselines.DeferredReweighting(COUNTS, start_epoch=0).class_weights
    np.testing.assert_allclose(weights, drw_weights())
    assert (weights * COUNTS).sum() / 1000 == pytest.approx(1.0)


def test_deferred_reweighting_needs_a_loss_with_weights():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4)])
    model.compile(loss="sparse_categorical_crossentropy")
    with pytest.raises(ValueError, match="ClassWeightedLoss"):
        model.fit(
            np.ones((2, 4)),
            np.zeros(2),
            callbacks=[baselines.DeferredReweighting(COUNTS, 1)],
            verbose=0,
        )


def test_ghm_c_weighs_by_the_inverse_density():
    # Softmax of 2 classes; norms are 1 - p_y. Three samples share a unit region, one is alone:
    # GHM-C gives each region the same weight, N / GD = 4 / (2 * 3) and 4 / (2 * 1).
    logits = np.array([[5.0, 0.0], [5.1, 0.0], [5.2, 0.0], [2.0, 0.0]], "float32")
    labels = np.array([0, 0, 0, 1])
    norms = 1 - np.exp(-cross_entropy(labels, logits))
    assert len(set(np.floor(norms * 30))) == 2
    weights = np.array([2 / 3, 2 / 3, 2 / 3, 2.0])
    loss = baselines.ghm_c()
    expected = (weights * cross_entropy(labels, logits)).mean()
    np.testing.assert_allclose(loss(labels, logits), expected, rtol=1e-5)
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert (again.momentum, again.max_weight, again.bins) == (0.75, None, 30)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: baselines.class_balanced_weights([1], beta=1.0), r"beta in \[0, 1\)"),
        (lambda: baselines.class_balanced_weights([0, 0]), "not all 0"),
        (lambda: baselines.LogitAdjustedCrossentropy([1, -1]), "numbers from 0"),
        (lambda: baselines.LogitAdjustedCrossentropy([1], tau=-1), "tau of at least 0"),
        (lambda: baselines.LDAMLoss([1], max_margin=-1), "max_margin of at least 0"),
        (lambda: baselines.LDAMLoss([1], scale=0), "scale above 0"),
        (lambda: baselines.SparseCategoricalFocalCrossentropy(-1), "gamma of at least 0"),
        (lambda: baselines.LabelSmoothedCrossentropy(1.0), r"smoothing in \[0, 1\)"),
        (lambda: baselines.GeneralisedCrossentropy(0.0), r"q in \(0, 1\]"),
        (lambda: baselines.GeneralisedCrossentropy(1.1), r"q in \(0, 1\]"),
        (lambda: baselines.SymmetricCrossentropy(alpha=-1), "alpha and beta of at least 0"),
        (lambda: baselines.SymmetricCrossentropy(beta=-1), "alpha and beta of at least 0"),
        (lambda: baselines.SymmetricCrossentropy(log_zero=0), "log_zero below 0"),
        (lambda: NormalizedDense(0), "at least one class"),
        (lambda: NormalizedDense(2, scale=0), "scale above 0"),
    ],
)
def test_arguments_are_checked(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_logit_adjustment_of_soft_labels_weighs_the_classes_by_their_shares():
    counts = [50, 5, 1]
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(6, 3)).astype("float32")
    shares = rng.dirichlet(np.ones(3), size=6).astype("float32")
    loss = baselines.LogitAdjustedCrossentropy(counts, reduction="none")
    of_class = np.stack([loss(np.full(6, index), logits) for index in range(3)], axis=1)
    np.testing.assert_allclose(loss(shares, logits), (shares * of_class).sum(axis=1), rtol=1e-5)
    labels = np.array([0, 1, 2, 2, 1, 0])
    np.testing.assert_allclose(loss(np.eye(3)[labels], logits), loss(labels, logits), rtol=1e-6)
