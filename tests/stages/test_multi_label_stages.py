"""Multi-label data from the table to the comparison, with complete and with partial labels."""

import json

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from PIL import Image

from gb_keras.data.pipeline import load_split
from gb_keras.stages import multi_label_methods
from gb_keras.stages.compare import compare, compare_losses
from gb_keras.stages.evaluate import evaluate
from gb_keras.stages.prepare import prepare
from gb_keras.stages.train import train

NAMES = ["left", "right", "top", "bottom"]
KINDS = ["complete", "partial"]


def put_data(folder, kind, number=240):
    """Pictures with bright edges, which are what the labels say; `left` is the most frequent."""
    generator = np.random.default_rng(0)
    states = (generator.random((number, 4)) < [0.6, 0.4, 0.25, 0.15]).astype(int)
    for index, row in enumerate(states):
        picture = generator.integers(0, 60, (8, 8)).astype(int)
        for shown, where in zip(
            row, (np.s_[:, :2], np.s_[:, -2:], np.s_[:2], np.s_[-2:]), strict=True
        ):
            picture[where] += 150 * shown
        Image.fromarray(np.minimum(picture, 255).astype("uint8")).save(folder / f"{index}.png")
    table = pd.DataFrame(states, columns=NAMES).astype(object)
    if kind == "partial":
        table = table.mask(generator.random(table.shape) < 0.4, "")
    table.insert(0, "path", [f"{index}.png" for index in range(number)])
    table.to_csv(folder / "t.csv", index=False)
    return f"csv:{folder / 't.csv'}?labels={','.join(NAMES)}"


@pytest.fixture(scope="module", params=KINDS)
def data(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    manifest = prepare(put_data(folder, request.param), folder / "data", on_error="skip")
    return folder / "data", manifest


@pytest.fixture(scope="module")
def partial(tmp_path_factory):
    folder = tmp_path_factory.mktemp("partial")
    prepare(put_data(folder, "partial"), folder / "data", on_error="skip")
    return folder / "data"


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    options = {"epochs": 12, "learning_rate": 0.01, "batch_size": 32, "verbose": 0}
    summary = train(data[0], folder / "run", **options)
    evaluate(folder / "run", data[0], folder / "evaluation", many_shot=60, few_shot=30)
    return folder, summary


def test_from_a_table_to_a_report(data, run):
    folder, summary = run
    config = json.loads((folder / "run" / "config.json").read_text())
    assert config["multi_label"]
    assert config["train_absent_counts"] == data[1]["splits"]["train"]["absent_counts"]
    assert set(summary["final"]) >= {"base_loss", "val_loss", "val_accuracy"}
    assert summary["final"]["val_balanced_accuracy"] > 0.9
    result = json.loads((folder / "evaluation" / "metrics.json").read_text())
    assert result["metrics"]["mean_average_precision"] > 0.9
    assert result["num_examples"] == data[1]["splits"]["test"]["num_examples"]
    counts = data[1]["splits"]["test"]
    for key, name in (("test_count", "class_counts"), ("test_absent_count", "absent_counts")):
        assert [row[key] for row in result["per_class"]] == counts[name]
    page = (folder / "evaluation" / "report.html").read_text()
    assert "mean average precision of the classes" in page
    assert "Average precision against training samples" in page
    assert "What is taken for what" not in page
    assert all(f"Gradient norms of {sign}" in page for sign in ("positives", "negatives"))
    table = pd.read_csv(folder / "evaluation" / "per_class.csv")
    assert table["name"].tolist() == NAMES
    assert table["average_precision"].between(0, 1).all()


def test_evaluation_is_what_the_model_says(data, run):
    """The validation metrics of the last epoch, and those of `evaluate` on the same split."""
    folder, summary = run
    found = evaluate(folder / "run", data[0], folder / "validation", split="validation")["metrics"]
    assert found["accuracy"] == pytest.approx(summary["final"]["val_accuracy"], abs=1e-5)
    assert found["balanced_accuracy"] == pytest.approx(
        summary["final"]["val_balanced_accuracy"], abs=1e-5
    )
    assert found["negative_log_likelihood"] == pytest.approx(summary["final"]["val_loss"], rel=1e-4)


def test_the_statistic_leaves_out_what_is_unknown(data, run):
    """Positives and negatives that it has seen are those that are known, epoch after epoch."""
    folder, _ = run
    model = keras.saving.load_model(folder / "run" / "model.keras")
    counts = data[1]["splits"]["train"]
    seen = np.array(model.gradient_density.class_counts).reshape(2, 4)
    expected = np.array([counts["absent_counts"], counts["class_counts"]])
    np.testing.assert_allclose(seen / seen.sum(), expected / expected.sum(), rtol=1e-4)


@pytest.mark.parametrize("name", multi_label_methods.names())
def test_every_method_trains_is_watched_and_evaluated(partial, tmp_path, name):
    run_dir = tmp_path / "run"
    summary = train(partial, run_dir, loss=name, epochs=1, batch_size=32, verbose=0)
    assert all(np.isfinite(value) for value in summary["final"].values())
    density = json.loads((run_dir / "gradient_density.json").read_text())
    assert set(density) == {"positives", "negatives"}
    assert all(np.sum(each["density"][-1]) > 0 for each in density.values())
    found = evaluate(run_dir, partial, tmp_path / "evaluation")
    assert found["metrics"]["mean_average_precision"] is not None


@pytest.mark.parametrize(
    "options",
    [
        {"jit_compile": True},
        {"dtype_policy": "mixed_bfloat16"},
        {"dtype_policy": "mixed_float16"},
        {"backbone": "resnet18", "image_size": 32},
    ],
    ids=str,
)
def test_every_way_to_run(partial, tmp_path, options):
    summary = train(partial, tmp_path / "run", epochs=1, batch_size=32, verbose=0, **options)
    assert np.isfinite(summary["final"]["val_loss"])


def test_an_interrupted_run_ends_as_if_it_had_not_been(partial, tmp_path, monkeypatch):
    options = {"epochs": 3, "batch_size": 32, "verbose": 0}
    whole = train(partial, tmp_path / "whole", **options)
    from gb_keras.stages.checkpoints import EpochCheckpoint

    after = EpochCheckpoint.on_epoch_end

    def cut(self, epoch, logs=None):
        after(self, epoch, logs)
        if epoch == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(EpochCheckpoint, "on_epoch_end", cut)
    with pytest.raises(KeyboardInterrupt):
        train(partial, tmp_path / "cut", **options)
    monkeypatch.undo()
    resumed = train(partial, tmp_path / "cut", resume=True, **options)
    assert resumed["final"] == whole["final"]


def test_methods_of_one_label_are_refused(partial, tmp_path):
    with pytest.raises(ValueError, match=r"Expected loss to be one of .*asymmetric.*'seesaw'"):
        train(partial, tmp_path / "run", loss="seesaw")
    assert not (tmp_path / "run").exists()
    prepare("digits", tmp_path / "digits")
    with pytest.raises(ValueError, match=r"Expected loss to be one of .*seesaw.*'asymmetric'"):
        train(tmp_path / "digits", tmp_path / "run", loss="asymmetric")


def test_comparison(partial, tmp_path):
    result = compare_losses(
        partial, tmp_path, ["cross_entropy", "gradient_balanced"], epochs=2, verbose=0
    )
    assert result["multi_label"]
    text = (tmp_path / "comparison" / "comparison.md").read_text()
    assert "| run | mAP % | micro AP % | few-shot AP % |" in text
    assert (
        "Average precision on the test split"
        in (tmp_path / "comparison" / "comparison.html").read_text()
    )
    assert (tmp_path / "comparison" / "comparison.png").stat().st_size > 10_000


def test_long_tail_and_noise_of_the_whole_way(tmp_path):
    name = put_data(tmp_path, "complete")
    plain = prepare(name, tmp_path / "plain")
    viewed = prepare(name, tmp_path / "viewed", long_tail_factor=10, label_noise=0.2)
    for split in ("validation", "test"):
        assert viewed["splits"][split] == plain["splits"][split]
    counts = viewed["splits"]["train"]["class_counts"]
    assert viewed["num_labels_changed"] > 0.1 * sum(counts)
    again = prepare(name, tmp_path / "again", long_tail_factor=10, label_noise=0.2)
    assert again["checksums"] == viewed["checksums"]
    batches = load_split(tmp_path / "viewed", "train", batch_size=1000)
    labels = next(iter(batches))[1].numpy()
    assert labels.sum(axis=0).tolist() == counts


def test_a_prepared_set_is_a_source_again(data, tmp_path):
    folder, manifest = data
    again = prepare(f"tfds-dir:{folder}", tmp_path / "again")
    assert again["splits"] == manifest["splits"]
    for split in manifest["splits"]:
        first, second = (
            {
                example[0].tobytes(): tuple(each.tobytes() for each in example[1:])
                for batch in load_split(each, split, batch_size=300).as_numpy_iterator()
                for example in zip(*batch, strict=True)
            }
            for each in (folder, tmp_path / "again")
        )
        assert first == second


def test_evaluations_of_one_and_of_several_labels_do_not_compare(data, run, tmp_path):
    prepare("digits", tmp_path / "digits")
    train(tmp_path / "digits", tmp_path / "run", epochs=1, verbose=0)
    evaluate(tmp_path / "run", tmp_path / "digits", tmp_path / "evaluation")
    with pytest.raises(ValueError, match="same data"):
        compare([run[0] / "evaluation", tmp_path / "evaluation"], tmp_path / "comparison")


def test_two_replicas_learn_what_one_learns(data):
    """The same global batches: the statistic and the masked mean go over both replicas."""
    from gb_keras.training import GradientBalancedModel
    from tests.replicas import two_replicas

    def fitted(strategy):
        keras.utils.set_random_seed(0)
        with strategy.scope():
            inputs = keras.Input((8, 8, 1))
            outputs = keras.layers.Dense(4)(keras.layers.Flatten()(inputs))
            model = GradientBalancedModel(inputs, outputs)
            counts = data[1]["splits"]["train"]
            entry_counts = np.array([counts["absent_counts"], counts["class_counts"]])
            method = multi_label_methods.method("gradient_balanced", entry_counts)
            model.compile("sgd", method.loss)
        batches = load_split(data[0], "train", batch_size=32, drop_remainder=True)
        model.fit(batches, epochs=2, verbose=0, shuffle=False)
        return np.array(model.gradient_density.class_counts), model.get_weights()

    counts, _ = fitted(tf.distribute.get_strategy())
    both, weights = fitted(two_replicas())
    np.testing.assert_allclose(both, counts, rtol=1e-4)
    assert all(np.isfinite(each).all() for each in weights)


def test_blended_images_have_blended_labels(data, tmp_path):
    options = {"augmentation": ["flip", "mixup", "cutmix"], "epochs": 2, "batch_size": 32}
    summary = train(data[0], tmp_path / "run", **options, verbose=0)
    assert all(np.isfinite(value) for value in summary["final"].values())
    result = evaluate(tmp_path / "run", data[0], tmp_path / "evaluation", split="validation")
    final = summary["final"]["val_balanced_accuracy"]
    assert result["metrics"]["balanced_accuracy"] == pytest.approx(final, abs=1e-5)
