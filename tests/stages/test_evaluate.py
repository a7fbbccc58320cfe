"""Evaluation of real models on real data, against scikit-learn, NumPy and the eyes of a parser."""

import csv
import html.parser
import json
import re
import shutil

import keras
import numpy as np
import pytest
import sklearn.metrics

from gb_keras.data import pipeline
from gb_keras.metrics import SHOTS, shots
from gb_keras.stages import files, report_evaluation
from gb_keras.stages.evaluate import METRICS, evaluate, measure
from gb_keras.stages.prepare import prepare

# Its runs are shared by its tests, so one worker takes them all.
pytestmark = pytest.mark.xdist_group("evaluate")


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "digits"
    prepare("digits", folder, long_tail_factor=20.0)
    return folder


def write_run(folder, data_dir, model, **config):
    """A run folder as the train stage leaves it."""
    manifest = pipeline.read_manifest(data_dir)
    folder.mkdir()
    model.save(folder / "model.keras")
    files.write_json(
        folder / "config.json",
        {
            "data": manifest["data"],
            "num_classes": len(manifest["classes"]),
            "classes": manifest["classes"],
            "train_class_counts": manifest["splits"]["train"]["class_counts"],
            "loss": "cross_entropy",
            "backbone": "small_cnn",
            "epochs": 2,
            "seed": 0,
            **config,
        },
    )
    history = {"loss": [2.0, 1.0], "val_loss": [2.1, 1.2], "balanced_accuracy": [0.3, 0.5]}
    files.write_json(folder / "history.json", {**history, "val_balanced_accuracy": [0.2, 0.4]})
    return folder


def softmax_regression(num_classes=10):
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Flatten(),
            keras.layers.Dense(num_classes),
        ]
    )


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory, data_dir):
    model = softmax_regression()
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.optimizer.learning_rate = 0.01
    model.fit(
        pipeline.load_split(
            data_dir, "train", batch_size=64, image_size=(8, 8), channels=1, shuffle=True, seed=0
        ),
        epochs=10,
        shuffle=False,
        verbose=0,
    )
    return write_run(tmp_path_factory.mktemp("run") / "run", data_dir, model)


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory, run_dir, data_dir):
    folder = tmp_path_factory.mktemp("evaluation") / "new" / "evaluation"
    return evaluate(run_dir, data_dir, folder, batch_size=100), folder


def test_metrics_equal_those_of_scikit_learn_on_the_model_s_own_predictions(
    evaluation, run_dir, data_dir
):
    result, _ = evaluation
    model = keras.saving.load_model(run_dir / "model.keras")
    test = pipeline.load_split(
        data_dir, "test", batch_size=64, image_size=(8, 8), channels=1, shuffle=False, seed=0
    )
    labels = np.concatenate([y.numpy() for _, y in test])
    logits = model.predict(test, verbose=0).astype("float64")
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    predicted = logits.argmax(axis=1)
    recalls = sklearn.metrics.recall_score(labels, predicted, average=None)
    groups = np.array(shots(result["run"]["train_class_counts"]))
    assert {"many", "medium", "few"} >= set(groups)
    expected = {
        "accuracy": np.mean(labels == predicted),
        "balanced_accuracy": sklearn.metrics.balanced_accuracy_score(labels, predicted),
        "macro_f1": sklearn.metrics.f1_score(labels, predicted, average="macro"),
        "negative_log_likelihood": sklearn.metrics.log_loss(labels, probabilities),
        **{
            f"{shot}_shot_recall": recalls[groups == shot].mean() if shot in groups else None
            for shot in SHOTS
        },
    }
    for name, value in expected.items():
        assert result["metrics"][name] == pytest.approx(value, abs=1e-5), name
    assert tuple(result["metrics"]) == METRICS
    assert result["metrics"]["balanced_accuracy"] > 0.6
    matrix = sklearn.metrics.confusion_matrix(labels, predicted)
    assert result["confusion_matrix"] == matrix.tolist()
    areas = sklearn.metrics.roc_auc_score(labels, probabilities, multi_class="ovr", average=None)
    assert [row["auc"] for row in result["per_class"]] == pytest.approx(areas.tolist())
    assert result["roc"]["macro"]["auc"] == pytest.approx(areas.mean())
    micro = sklearn.metrics.roc_auc_score(np.eye(10)[labels], probabilities, average="micro")
    assert result["roc"]["micro"]["auc"] == pytest.approx(micro)
    assert sum(each["count"] for each in result["calibration"]) == len(labels)
    gaps = [
        each["count"] * abs(each["accuracy"] - each["confidence"])
        for each in result["calibration"]
        if each["count"]
    ]
    assert result["metrics"]["expected_calibration_error"] == pytest.approx(
        sum(gaps) / len(labels), abs=1e-5
    )


def test_files_hold_what_was_returned(evaluation):
    result, folder = evaluation
    assert {path.name for path in folder.iterdir()} == {
        "metrics.json",
        "per_class.csv",
        "report.html",
    }
    assert json.loads((folder / "metrics.json").read_text()) == result
    with open(folder / "per_class.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == result["run"]["classes"]
    assert float(rows[3]["recall"]) == pytest.approx(result["per_class"][3]["recall"])
    assert sum(int(row["test_count"]) for row in rows) == result["num_examples"]


def test_other_split_and_thresholds(tmp_path, run_dir, data_dir):
    result = evaluate(
        run_dir, data_dir, tmp_path / "out", split="validation", many_shot=5, few_shot=5
    )
    assert result["split"] == "validation"
    assert (
        result["num_examples"]
        == pipeline.read_manifest(data_dir)["splits"]["validation"]["num_examples"]
    )
    assert result["num_classes_by_shot"]["many"] == 10
    assert result["metrics"]["few_shot_recall"] is None
    assert result["metrics"]["many_shot_recall"] == pytest.approx(
        result["metrics"]["balanced_accuracy"]
    )


def test_a_diverged_model_gives_a_warning_instead_of_numbers(tmp_path, data_dir):
    model = softmax_regression()
    model.layers[-1].bias.assign([float("nan")] * 10)
    run = write_run(tmp_path / "run", data_dir, model)
    result = evaluate(run, data_dir, tmp_path / "out")
    assert set(result["metrics"].values()) == {None}
    assert "diverged" in result["warnings"][0]
    assert "diverged" in (tmp_path / "out" / "report.html").read_text()
    assert json.loads((tmp_path / "out" / "metrics.json").read_text()) == result


class TestRefusals:
    def test_unfinished_run(self, tmp_path, data_dir):
        with pytest.raises(FileNotFoundError, match=r"no model.keras and no config.json"):
            evaluate(tmp_path, data_dir, tmp_path / "out")

    def test_full_output_folder_is_left_as_it_is(self, tmp_path, run_dir, data_dir):
        (tmp_path / "mine.txt").write_text("mine")
        with pytest.raises(FileExistsError, match="already holds something"):
            evaluate(run_dir, data_dir, tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]

    def test_unknown_split(self, tmp_path, run_dir, data_dir):
        with pytest.raises(ValueError, match=r"one of .*'validation'.*split='dev'"):
            evaluate(run_dir, data_dir, tmp_path / "out", split="dev")

    def test_empty_split(self, tmp_path, run_dir, data_dir):
        shutil.copytree(data_dir, tmp_path / "data")
        manifest = files.read_json(data_dir / "manifest.json")
        manifest["splits"]["validation"] = {"num_examples": 0, "class_counts": [0] * 10}
        files.write_json(tmp_path / "data" / "manifest.json", manifest)
        with pytest.raises(ValueError, match=r"split with examples.*'validation'"):
            evaluate(run_dir, tmp_path / "data", tmp_path / "out", split="validation")

    def test_thresholds(self, tmp_path, run_dir, data_dir):
        with pytest.raises(ValueError, match="at most the many-shot threshold"):
            evaluate(run_dir, data_dir, tmp_path / "out", many_shot=5, few_shot=6)

    def test_other_classes(self, tmp_path, data_dir):
        run = write_run(tmp_path / "run", data_dir, softmax_regression(), classes=["a", "b"])
        with pytest.raises(ValueError, match=r"2 classes .*\"a\", \"b\".*Received 10 classes"):
            evaluate(run, data_dir, tmp_path / "out")

    def test_other_number_of_outputs(self, tmp_path, data_dir):
        run = write_run(tmp_path / "run", data_dir, softmax_regression(7))
        with pytest.raises(ValueError, match=r"10 outputs.*7 outputs"):
            evaluate(run, data_dir, tmp_path / "out")
        assert not (tmp_path / "out").exists()


def test_measure_by_hand():
    # Class a: 3 of 4 right; b: 1 of 2; c: none in the split.  One a is taken for b, one b for c.
    labels = np.array([0, 0, 0, 0, 1, 1])
    logits = np.log(np.array([[0.8, 0.1, 0.1]] * 3 + [[0.1, 0.8, 0.1]] * 2 + [[0.1, 0.1, 0.8]]))
    result = measure(labels, logits, ["a", "b", "c"], [200, 50, 1], ["many", "medium", "few"])
    metrics = result["metrics"]
    assert metrics["accuracy"] == pytest.approx(4 / 6)
    assert metrics["balanced_accuracy"] == pytest.approx((3 / 4 + 1 / 2) / 2)
    # F1 of a: 2 * 3 / (2 * 3 + 0 + 1); of b: 2 * 1 / (2 * 1 + 1 + 1); c takes no part.
    assert metrics["macro_f1"] == pytest.approx((6 / 7 + 2 / 4) / 2)
    assert (metrics["many_shot_recall"], metrics["medium_shot_recall"]) == (0.75, 0.5)
    assert metrics["few_shot_recall"] is None
    assert metrics["negative_log_likelihood"] == pytest.approx(
        -(4 * np.log(0.8) + 2 * np.log(0.1)) / 6
    )
    assert metrics["expected_calibration_error"] == pytest.approx(abs(4 / 6 - 0.8))
    assert result["confusion_matrix"] == [[3, 1, 0], [0, 1, 1], [0, 0, 0]]
    assert result["confused_pairs"] == [
        {"label": "a", "predicted": "b", "count": 1, "share": 0.25},
        {"label": "b", "predicted": "c", "count": 1, "share": 0.5},
    ]
    assert [row["recall"] for row in result["per_class"]] == [0.75, 0.5, None]
    assert [row["precision"] for row in result["per_class"]] == [1.0, 0.5, 0.0]


def test_one_class_in_the_split_has_no_curve():
    result = measure(
        np.zeros(3, int), np.eye(2)[[0, 0, 1]] * 3.0, ["a", "b"], [9, 9], ["few", "few"]
    )
    assert result["roc"] is None
    assert result["per_class"][0]["auc"] is None
    assert result["metrics"]["balanced_accuracy"] == pytest.approx(2 / 3)


def synthetic(num_classes, names=None, num_examples=600):
    """Content of metrics.json for predictions made by a formula."""
    rng = np.random.default_rng(0)
    counts = np.geomspace(500, 2, num_classes).astype(int)
    labels = rng.integers(0, num_classes, num_examples)
    logits = rng.normal(size=(num_examples, num_classes)) + np.log(counts)
    logits[np.arange(num_examples), labels] += 4
    names = names or [f"class {index}" for index in range(num_classes)]
    groups = shots(counts)
    return {
        "run": {"loss": "focal", "backbone": "small_cnn", "seed": 0, "classes": names},
        "history": {"loss": [1.0, None], "val_balanced_accuracy": [0.2, 0.4]},
        "data": {"name": "made up", "options": {}},
        "split": "test",
        "num_examples": num_examples,
        "thresholds": {"many_shot": 100, "few_shot": 20},
        "num_classes_by_shot": {shot: groups.count(shot) for shot in SHOTS},
        **measure(labels, logits, names, counts, groups),
    }


DENSITY = {
    "steps": [10, 20],
    "density": [[5.0, 0.0, 3.0], [7.0, 0.5, 0.5]],
    "weights": [[0.8, None, 1.5], [0.9, 1.5, 1.7]],
}


def test_gradient_norms_are_in_the_report_where_the_run_has_them():
    page = report_evaluation.page(synthetic(5), DENSITY)
    assert "Gradient norms while training" in page
    assert "Density and weight at the last step" in page
    assert "Gradient norms" not in report_evaluation.page(synthetic(5), {})


def test_size_stays_bounded_with_many_classes():
    result = synthetic(1001, num_examples=400)
    assert result["confusion_matrix"] is None
    assert len(result["confused_pairs"]) == 20
    assert all(
        len(curve["fpr"]) <= 200 and len(curve["fpr"]) == len(curve["tpr"])
        for curve in result["roc"].values()
    )
    page = report_evaluation.page(result, {})
    assert "only the most frequent mistakes" in page
    assert len(page) < 1_000_000


class Elements(html.parser.HTMLParser):
    """Start tags with attributes, as a browser's parser sees them."""

    def __init__(self, page):
        super().__init__()
        self.elements = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))


@pytest.mark.parametrize("num_classes", [5, 120])
def test_the_report_needs_nothing_but_itself(num_classes):
    page = report_evaluation.page(synthetic(num_classes), {})
    for tag, attributes in Elements(page).elements:
        assert tag not in {"link", "iframe", "object", "embed", "base"}
        for name in ("src", "href", "xlink:href", "action", "poster"):
            assert attributes.get(name, "#").startswith(("#", "data:")), (tag, attributes)
    assert not re.search(r"url\((?!#)|@import|fetch\(", page)
    identifiers = [a["id"] for _, a in Elements(page).elements if "id" in a]
    assert len(identifiers) == len(set(identifiers))
    assert ("heat" in page.split("</style>")[1]) == (num_classes > 20)


def test_names_of_classes_are_text_and_nothing_else():
    names = ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "$x^2$", "日本", "a"]
    page = report_evaluation.page(synthetic(5, names), {})
    elements = Elements(page).elements
    assert sum(tag == "script" for tag, _ in elements) == 1
    assert not any("onerror" in attributes for _, attributes in elements)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "日本" in page


def test_colours_of_figures_follow_the_page():
    page = report_evaluation.page(synthetic(5), DENSITY)
    for figure in re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL):
        assert "var(--" in figure
        assert not re.search(r"(?:fill|stroke): #", figure)
    assert "prefers-color-scheme: dark" in page
