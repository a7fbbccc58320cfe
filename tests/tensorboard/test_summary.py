"""What is written: right, complete, and small."""

import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.util import tensor_util

import gb_keras
from gb_keras.tensorboard import metadata, snapshot, summary

MULTI_LABEL = gb_keras.GradientBalancedLoss("binary_crossentropy")


def statistic_of(num_classes, bins=30, multi_label=False, seed=0):
    """A statistic with random content, watched from its start."""
    random = np.random.default_rng(seed)
    statistic = gb_keras.GradientDensity(bins, 0.99, multi_label)
    statistic.watch()
    statistic.build(num_classes)
    histogram = random.gamma(0.3, size=statistic.histogram.shape).astype(np.float32)
    statistic.histogram.assign(histogram)
    statistic.class_counts.assign(np.floor(histogram.sum(-1) * 100))
    statistic.watched.mass.assign(random.gamma(1.0, size=(2, num_classes)))
    weights = random.uniform(0, 2, histogram.size)
    statistic.watched.cells.assign([histogram.ravel(), histogram.ravel() * weights])
    statistic.noise_rate.assign(0.25)
    return statistic


def balanced_of(statistic):
    return statistic.watched.cells.numpy()[1].reshape(statistic.histogram.shape)


def events(folder):
    return [
        event
        for file in sorted(folder.iterdir())
        for event in EventFileLoader(str(file)).Load()
        if event.HasField("summary")
    ]


def written(folder, taken, names=None, recalls=None, **options):
    with tf.summary.create_file_writer(str(folder)).as_default():
        for each in taken:
            summary.gradient_balance(each, step=3, **options)
            if names is not None:
                summary.class_names(each, names)
            if recalls is not None:
                summary.class_recalls(each, recalls, step=3)
    return {
        event.summary.value[0].tag: tensor_util.make_ndarray(event.summary.value[0].tensor)
        for event in events(folder)
    }


def test_all_classes_are_written_where_they_are_few(tmp_path):
    statistic = statistic_of(10)
    loss = gb_keras.GradientBalancedLoss()
    taken = snapshot.take("output", loss, statistic, balanced=True)
    recalls = np.linspace(0, 1, 10)
    scalars = {"loss": 1.5, "base_loss": 2.5}
    tensors = written(tmp_path, taken, list("abcdefghij"), recalls, scalars=scalars)
    histogram, balanced = statistic.histogram.numpy(), balanced_of(statistic)
    samples = histogram.sum(1)
    expected = {
        "density": histogram.sum(0),
        "histogram": histogram,
        "balanced_histogram": balanced,
        "weights": balanced.sum(0) / histogram.sum(0),
        "mean_weights": balanced.sum(1) / samples,
        "noise_rate": 0.25,
        "histogram_classes": np.arange(10),
        "class_counts": statistic.class_counts.numpy(),
        "mass_positive": statistic.watched.mass.numpy()[0],
        "mass_negative": statistic.watched.mass.numpy()[1],
        "recalls": recalls,
        "num_skipped": 0,
        **scalars,
    }
    for kind, values in expected.items():
        np.testing.assert_allclose(tensors[f"output/{kind}"], values, rtol=1e-5)
    # By hand: weights rho^(-k/2) of mean 1, capped to [1/2, 2], of mean 1 again.
    rho = histogram.sum(0).astype(float)
    weights = rho ** (-0.5 * np.clip((rho[:3].sum() / rho[:15].sum() - 0.3) / 0.2, 0, 1))
    weights *= rho.sum() / (weights * rho).sum()
    weights = np.clip(weights, 0.5, 2)
    weights *= rho.sum() / (weights * rho).sum()
    np.testing.assert_allclose(tensors["output/density_weights"], weights, rtol=1e-5)
    norms = histogram @ ((np.arange(30) + 0.5) / 30) / samples
    np.testing.assert_allclose(tensors["output/mean_norms"], norms, rtol=1e-5)
    prior = statistic.class_counts.numpy() + 0.5
    np.testing.assert_allclose(tensors["output/margins"], np.log(prior / prior.sum()), rtol=1e-5)
    assert [name.decode() for name in tensors["output/class_names"]] == list("abcdefghij")
    assert "output/histogram_quantiles" not in tensors


def test_of_many_classes_some_are_written_and_quantiles_of_all(tmp_path):
    statistic = statistic_of(1000)
    [taken] = snapshot.take("output", gb_keras.GradientBalancedLoss(), statistic, True)
    tensors = written(tmp_path, [taken], classes=[500, 3])
    order = np.argsort(statistic.watched.mass.numpy().sum(0))
    rows = sorted({500, 3, *order[:10], *order[-10:]})
    np.testing.assert_array_equal(tensors["output/histogram_classes"], rows)
    np.testing.assert_array_equal(tensors["output/histogram"], statistic.histogram.numpy()[rows])
    np.testing.assert_allclose(
        tensors["output/balanced_histogram"], balanced_of(statistic)[rows], rtol=1e-5
    )
    shares = statistic.histogram.numpy()
    shares = shares / shares.sum(1, keepdims=True)
    np.testing.assert_allclose(
        tensors["output/histogram_quantiles"],
        np.quantile(shares, metadata.QUANTILE_LEVELS, axis=0),
        rtol=1e-4,
        atol=1e-7,
    )


@pytest.mark.parametrize(
    ("num_classes", "bins"), [(10, 30), (200, 30), (20_000, 30), (20_000, 1000), (200, 1000)]
)
@pytest.mark.parametrize("name", ["a name", "名" * 10_000])
def test_an_event_stays_below_256_kib(tmp_path, num_classes, bins, name):
    statistic = statistic_of(num_classes, bins)
    loss = gb_keras.GradientBalancedLoss(bins=bins)
    [taken] = snapshot.take("output", loss, statistic, balanced=True)
    names = [f"{index} {name}" for index in range(num_classes)]
    classes = range(min(num_classes, summary.max_chosen(bins)))
    with tf.summary.create_file_writer(str(tmp_path)).as_default():
        summary.gradient_balance(taken, step=1, classes=classes)
        summary.class_recalls(taken, np.ones(num_classes), step=1)
        summary.class_names(taken, names)
    found = events(tmp_path)
    sizes = {event.summary.value[0].tag: event.ByteSize() for event in found}
    assert max(event.ByteSize() for event in found) < summary.MAX_EVENT_BYTES
    assert sizes["output/class_counts"] == pytest.approx(4 * num_classes, abs=500)
    assert sizes["output/balanced_histogram"] == pytest.approx(sizes["output/histogram"], abs=50)
    pages = [event for event in found if event.summary.value[0].tag == "output/class_names"]
    assert [event.step for event in pages] == list(range(len(pages)))
    read = [
        text.decode()
        for event in pages
        for text in tensor_util.make_ndarray(event.summary.value[0].tensor)
    ]
    assert read == [metadata.cut(text) for text in names]


def test_multi_label_is_written_in_two_parts(tmp_path):
    statistic = statistic_of(6, multi_label=True)
    taken = snapshot.take("labels", MULTI_LABEL, statistic, balanced=True)
    tensors = written(tmp_path, taken)
    for row, part in enumerate(("negatives", "positives")):
        np.testing.assert_array_equal(
            tensors[f"labels/{part}/histogram"], statistic.histogram.numpy()[row]
        )
        np.testing.assert_array_equal(
            tensors[f"labels/{part}/class_counts"], statistic.class_counts.numpy()[row]
        )
        np.testing.assert_array_equal(
            tensors[f"labels/{part}/mass_positive"], statistic.watched.mass.numpy()[0]
        )
        balanced = balanced_of(statistic)[row]
        np.testing.assert_allclose(
            tensors[f"labels/{part}/balanced_histogram"], balanced, rtol=1e-5
        )
        weights = balanced.sum(0) / statistic.histogram.numpy()[row].sum(0)
        np.testing.assert_allclose(tensors[f"labels/{part}/weights"], weights, rtol=1e-5)
        # Of several labels nothing tells how many are wrong.
        assert f"labels/{part}/noise_rate" not in tensors
    # By hand: of density as above, with mean 1 over negatives. Positives have 1.
    histogram = statistic.histogram.numpy().sum(axis=1)
    rho, positives = histogram.sum(axis=0), histogram[1]
    sure = positives[:3].sum() / positives[:15].sum()
    weights = rho ** (-0.5 * np.clip((sure - 0.3) / 0.2, 0, 1))
    weights = np.clip(weights * rho.sum() / (weights * rho).sum(), 0.5, 2)
    weights *= histogram[0].sum() / (weights * histogram[0]).sum()
    np.testing.assert_allclose(tensors["labels/negatives/density_weights"], weights, rtol=1e-4)
    np.testing.assert_array_equal(tensors["labels/positives/density_weights"], 1)


def test_in_a_resumed_training_weights_are_those_since_then():
    statistic = gb_keras.GradientDensity(bins=2, momentum=0.9)
    watched = statistic.watch()
    statistic.build(2)
    statistic.histogram.assign([[4.0, 12.0], [0.0, 0.0]])
    # One of 16 samples was seen since then, with weight 1/2; of the others only the density is
    # known: 4^-1/2 and 12^-1/2, scaled to mean 1.
    watched.cells.assign([[1.0, 0.0, 0.0, 0.0], [0.5, 0.0, 0.0, 0.0]])
    loss = gb_keras.GradientBalancedLoss(bins=2)
    [taken] = snapshot.take("output", loss, statistic, balanced=True)
    by_density = 16 / (4 * 4**-0.5 + 12 * 12**-0.5) * 12**-0.5
    expected = [[4 * 0.5, 12 * by_density], [0, 0]]
    np.testing.assert_allclose(taken.balanced_histogram, expected, rtol=1e-5)
    np.testing.assert_allclose(taken.weights, [0.5, by_density], rtol=1e-5)
    np.testing.assert_allclose(taken.mean_weights, [sum(expected[0]) / 16, np.nan], rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "estimated"),
    [
        ({}, True),
        ({"label_smoothing": 0}, True),
        ({"noise_exponent": 0}, False),
    ],
    ids=str,
)
def test_the_noise_rate_is_written_where_it_is_estimated(tmp_path, options, estimated):
    loss = gb_keras.GradientBalancedLoss(**options)
    taken = snapshot.take("output", loss, statistic_of(4), balanced=True)
    assert ("output/noise_rate" in written(tmp_path, taken)) == estimated


def test_each_summary_says_what_it_is(tmp_path):
    loss = gb_keras.GradientBalancedLoss(bins=7, density_exponent=0.25, max_weight=None)
    taken = snapshot.take("output", loss, statistic_of(4, bins=7), balanced=False)
    written(tmp_path, taken)
    for event in events(tmp_path):
        [value] = event.summary.value
        assert value.metadata.plugin_data.plugin_name == "gradient_balance"
        content = metadata.Content.from_bytes(value.metadata.plugin_data.content)
        assert value.tag == f"output/{content.kind}"
        assert (content.num_classes, content.bins, content.version) == (4, 7, 2)
        assert (content.balanced, content.max_weight) == (False, None)
        assert content.density_exponent == 0.25
        assert metadata.fits(content, content.kind, tensor_util.make_ndarray(value.tensor))


def test_plain_summaries_hold_the_same_histogram(tmp_path):
    [taken] = snapshot.take("output", gb_keras.GradientBalancedLoss(), statistic_of(4), True)
    with tf.summary.create_file_writer(str(tmp_path)).as_default():
        summary.plain(taken, step=5, scalars={"loss": 0.5})
    tensors = {event.summary.value[0].tag: event.summary.value[0] for event in events(tmp_path)}
    value = tensors["gradient_balance/output/gradient_norm"]
    assert value.metadata.plugin_data.plugin_name == "histograms"
    left, right, counts = tensor_util.make_ndarray(value.tensor).T
    np.testing.assert_allclose(left, np.arange(30) / 30, atol=1e-7)
    np.testing.assert_allclose(right, np.arange(1, 31) / 30, atol=1e-7)
    np.testing.assert_allclose(counts, taken.density, rtol=1e-6)
    assert tensors["gradient_balance/output/loss"].metadata.plugin_data.plugin_name == "scalars"
    value = tensors["gradient_balance/output/balanced_gradient_norm"]
    *_, counts = tensor_util.make_ndarray(value.tensor).T
    np.testing.assert_allclose(counts, taken.balanced_histogram.sum(0), rtol=1e-5)
    noise_rate = tensors["gradient_balance/output/noise_rate"].tensor
    assert float(tensor_util.make_ndarray(noise_rate)) == 0.25


@pytest.mark.parametrize("classes", [[1000], [-1], list(range(500))])
def test_classes_that_cannot_be_chosen(tmp_path, classes):
    [taken] = snapshot.take("output", gb_keras.GradientBalancedLoss(), statistic_of(1000), True)
    with (
        tf.summary.create_file_writer(str(tmp_path)).as_default(),
        pytest.raises(ValueError, match="Expected at most 180 classes"),
    ):
        summary.gradient_balance(taken, step=1, classes=classes)


def test_an_empty_statistic_is_written(tmp_path):
    statistic = gb_keras.GradientDensity(30, 0.99)
    statistic.watch()
    statistic.build(1000)
    taken = snapshot.take("output", gb_keras.GradientBalancedLoss(), statistic, True)
    tensors = written(tmp_path, taken)
    assert np.isnan(tensors["output/weights"]).all()
    assert np.isnan(tensors["output/mean_weights"]).all()
    assert not tensors["output/histogram_quantiles"].any()
    assert not tensors["output/balanced_histogram"].any()
