"""Comparison of evaluations, by hand and of runs that were really trained."""

import html.parser
import re

import numpy as np
import pytest

from gb_keras.metrics import SHOTS, shots
from gb_keras.stages import files
from gb_keras.stages.compare import compare, compare_losses, first_epoch_at, unique_names
from gb_keras.stages.evaluate import measure
from gb_keras.stages.prepare import prepare

# Its runs are shared by its tests, so one worker takes them all.
pytestmark = pytest.mark.xdist_group("compare")

COUNTS = [500, 50, 5]


def write_evaluation(folder, loss, validation, quality=2.0, **changes):
    """An evaluation folder with predictions made by a formula."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 300)
    logits = rng.normal(size=(300, 3))
    logits[np.arange(300), labels] += quality
    groups = shots(COUNTS)
    run = {"loss": loss, "backbone": "small_cnn", "seed": 0, "epochs": len(validation)}
    run.update(changes.pop("run", {}))
    result = {
        "format": 1,
        "run": run,
        "history": {"val_balanced_accuracy": validation},
        "data": {"name": "made up", "options": {"seed": 0}},
        "split": "test",
        "num_examples": 300,
        "thresholds": {"many_shot": 100, "few_shot": 20},
        "num_classes_by_shot": {shot: groups.count(shot) for shot in SHOTS},
        **measure(labels, logits, ["a", "b", "c"], COUNTS, groups),
        **changes,
    }
    files.write_json(folder / "metrics.json", result)
    return folder


@pytest.fixture
def three(tmp_path):
    return [
        write_evaluation(tmp_path / "focal" / "evaluation", "focal", [0.5, 0.6, 0.65], 1.0),
        write_evaluation(
            tmp_path / "ce" / "evaluation", "cross_entropy", [0.4, 0.7, 0.8, 0.75], 2.0
        ),
        write_evaluation(
            tmp_path / "gb" / "evaluation", "gradient_balanced", [None, 0.8, 0.9, 0.9], 3.0
        ),
    ]


def test_epochs_to_the_best_of_the_baseline(three, tmp_path):
    result = compare(three, tmp_path / "out")
    assert result["baseline"] == "cross_entropy"
    assert result["baseline_best"] == 0.8
    assert {run["name"]: run["epochs_to_baseline_best"] for run in result["runs"]} == {
        "focal": None,
        "cross_entropy": 3,
        "gradient_balanced": 2,
    }


def test_files_tell_the_same(three, tmp_path):
    out = tmp_path / "out"
    result = compare(three, out)
    assert {path.name for path in out.iterdir()} == {
        f"comparison.{ending}" for ending in ("json", "md", "html", "png")
    }
    assert files.read_json(out / "comparison.json") == result
    assert (out / "comparison.png").read_bytes().startswith(b"\x89PNG")
    lines = (out / "comparison.md").read_text().splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:7]]
    assert [row[0] for row in rows] == [
        "run",
        "---",
        "focal",
        "cross_entropy (baseline)",
        "gradient_balanced",
    ]
    assert [row[-1] for row in rows[2:]] == ["never", "3", "**2**"]
    # The last run was made to be right most often and most surely.
    best = result["runs"][2]["metrics"]
    assert rows[4][2] == f"**{100 * best['balanced_accuracy']:.1f}**"
    assert rows[4][5] == f"**{best['negative_log_likelihood']:.3f}**"
    assert not any("**" in cell for row in rows[2:4] for cell in row[:6])


@pytest.mark.parametrize("called", ["gradient_balanced", "gb"])
def test_another_baseline_by_loss_or_folder(tmp_path, called):
    folders = [
        write_evaluation(tmp_path / "ce", "cross_entropy", [0.4]),
        write_evaluation(tmp_path / "gb", "gradient_balanced", [0.5]),
    ]
    assert compare(folders, tmp_path / "out", baseline=called)["baseline"] == "gradient_balanced"


def test_the_first_run_is_the_baseline_where_there_is_no_cross_entropy(tmp_path):
    folders = [write_evaluation(tmp_path / loss, loss, [0.4]) for loss in ("ghm_c", "focal")]
    assert compare(folders, tmp_path / "out")["baseline"] == "ghm_c"


def test_a_baseline_without_history(tmp_path):
    folders = [write_evaluation(tmp_path / loss, loss, []) for loss in ("ghm_c", "focal")]
    result = compare(folders, tmp_path / "out")
    assert result["baseline_best"] is None
    assert "never" not in (tmp_path / "out" / "comparison.md").read_text()


def test_a_diverged_run_stays_in_the_table(tmp_path, three):
    nothing = measure(np.arange(3), np.full((3, 3), np.nan), ["a", "b", "c"], COUNTS, shots(COUNTS))
    broken = write_evaluation(tmp_path / "broken", "ldam_drw", [0.3, None], **nothing)
    result = compare([*three, broken], tmp_path / "out")
    assert result["runs"][3]["metrics"]["accuracy"] is None
    assert "diverged" in (tmp_path / "out" / "comparison.html").read_text()
    assert "| ldam_drw | n/a |" in (tmp_path / "out" / "comparison.md").read_text()


def test_names_grow_only_where_they_must():
    folders = ("a/evaluation", "b/evaluation", "c/evaluation", "d/evaluation")
    runs = [
        ("focal", "vgg16", "seed 0"),
        ("focal", "resnet50", "seed 0"),
        ("ghm_c", "vgg16", "seed 0"),
        ("focal", "vgg16", "seed 0"),
    ]
    assert unique_names([(*run, folder) for run, folder in zip(runs, folders, strict=True)]) == [
        "focal, vgg16, a/evaluation",
        "focal, resnet50",
        "ghm_c",
        "focal, vgg16, d/evaluation",
    ]


def test_more_runs_than_colours_and_one_run_alone(tmp_path):
    folders = [
        write_evaluation(tmp_path / f"{seed}", "focal", [0.4, 0.5], run={"seed": seed})
        for seed in range(15)
    ]
    result = compare(folders, tmp_path / "many")
    assert [run["name"] for run in result["runs"]] == [f"focal, seed {s}" for s in range(15)]
    assert result["different_settings"] == {"seed": list(range(15))}
    assert compare(folders[:1], tmp_path / "one")["runs"][0]["name"] == "focal"


def test_first_epoch_counts_from_one_and_may_never_come():
    assert first_epoch_at(0.5, [0.5]) == 1
    assert first_epoch_at(0.5, [0.4, None]) is None
    assert first_epoch_at(0.0, [0.0]) == 1
    assert first_epoch_at(None, [0.4]) is None


@pytest.mark.parametrize(
    ("changes", "aspect"),
    [
        ({"data": {"name": "other", "options": {"seed": 0}}}, "another data: 'made up'"),
        ({"data": {"name": "made up", "options": {"seed": 1}}}, "another options"),
        ({"split": "validation"}, "another split"),
        ({"thresholds": {"many_shot": 5, "few_shot": 5}}, "another shot thresholds"),
        ({"per_class": []}, "another classes"),
    ],
)
def test_runs_on_different_data_are_refused(tmp_path, changes, aspect):
    folders = [
        write_evaluation(tmp_path / "a", "focal", [0.4]),
        write_evaluation(tmp_path / "b", "ghm_c", [0.4], **changes),
    ]
    with pytest.raises(ValueError, match=aspect):
        compare(folders, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_other_refusals(three, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no metrics\.json"):
        compare([tmp_path], tmp_path / "out")
    with pytest.raises(ValueError, match="each once"):
        compare([three[0], three[0]], tmp_path / "out")
    with pytest.raises(ValueError, match="at least one"):
        compare([], tmp_path / "out")
    with pytest.raises(ValueError, match="'unheard', which no run answers to"):
        compare(three, tmp_path / "out", baseline="unheard")
    with pytest.raises(ValueError, match="'evaluation', which more than one run answers to"):
        compare(three, tmp_path / "out", baseline="evaluation")
    with pytest.raises(FileExistsError, match="already holds"):
        compare(three, three[0])


def test_names_are_text_and_nothing_else(tmp_path):
    wild = "<script>alert(1)</script>|$x^2$"
    folders = [
        write_evaluation(tmp_path / "a", wild, [0.4]),
        write_evaluation(tmp_path / "b", "focal", [0.4]),
    ]
    compare(folders, tmp_path / "out")
    page = (tmp_path / "out" / "comparison.html").read_text()
    tags = []
    parser = html.parser.HTMLParser()
    parser.handle_starttag = lambda tag, attributes: tags.append(tag)
    parser.feed(page)
    assert "script" not in tags
    assert not re.search(r'(src|href)="(?!#|data:)', page)
    row = (tmp_path / "out" / "comparison.md").read_text().splitlines()[4]
    assert len(re.findall(r"(?<!\\)\|", row)) == 9


OPTIONS = {"epochs": 2, "batch_size": 64, "verbose": 0}
LOSSES = ("cross_entropy", "gradient_balanced")


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "digits"
    prepare("digits", folder, long_tail_factor=20.0)
    return folder


@pytest.fixture(scope="module")
def trained(data_dir, tmp_path_factory):
    out = tmp_path_factory.mktemp("losses") / "out"
    return out, compare_losses(data_dir, out, LOSSES, **OPTIONS)


def test_each_loss_is_trained_evaluated_and_compared(trained):
    out, result = trained
    assert [run["name"] for run in result["runs"]] == list(LOSSES)
    assert result["baseline"] == "cross_entropy"
    assert result["different_settings"] == {}
    for loss in LOSSES:
        assert (out / loss / "run" / "model.keras").is_file()
        assert (out / loss / "evaluation" / "report.html").is_file()
    assert (out / "comparison" / "comparison.html").is_file()


def test_a_second_call_keeps_what_is_finished(trained, data_dir):
    out, result = trained
    models = [out / loss / "run" / "model.keras" for loss in LOSSES]
    before = [path.stat().st_mtime_ns for path in models]
    again = compare_losses(data_dir, out, LOSSES, **OPTIONS)
    assert again == result
    assert [path.stat().st_mtime_ns for path in models] == before


def test_a_run_that_only_started_is_resumed(trained, data_dir, tmp_path):
    out, result = trained
    # What is left of a run that was interrupted in its first epoch.
    (tmp_path / "cross_entropy" / "run").mkdir(parents=True)
    config = files.read_json(out / "cross_entropy" / "run" / "config.json")
    files.write_json(tmp_path / "cross_entropy" / "run" / "config.json", config)
    again = compare_losses(data_dir, tmp_path, ["cross_entropy"], **OPTIONS)
    assert again["runs"][0]["metrics"] == pytest.approx(result["runs"][0]["metrics"], abs=1e-5)


def test_a_finished_run_on_other_data_is_refused(trained, tmp_path):
    out, _ = trained
    prepare("digits", tmp_path / "data", long_tail_factor=2.0)
    with pytest.raises(ValueError, match=r"data_options=.*2\.0.*was trained with .*20\.0"):
        compare_losses(tmp_path / "data", out, LOSSES, **OPTIONS)


def test_each_loss_logs_into_a_folder_of_its_own(data_dir, tmp_path):
    logs = tmp_path / "logs"
    compare_losses(data_dir, tmp_path / "out", ["focal"], **{**OPTIONS, "epochs": 1}, log_dir=logs)
    assert [path.name for path in logs.iterdir()] == ["focal"]


def test_other_options_are_refused(trained, data_dir):
    out, _ = trained
    with pytest.raises(ValueError, match=r"epochs=3, but it was trained with 2"):
        compare_losses(data_dir, out, LOSSES, **{**OPTIONS, "epochs": 3})
    with pytest.raises(ValueError, match=r"momentum=0\.9, but it was trained with None"):
        compare_losses(data_dir, out, LOSSES, **OPTIONS, momentum=0.9)


def test_what_the_user_put_beside_the_comparison_stays(trained, data_dir):
    out, result = trained
    note = out / "comparison" / "note.txt"
    note.write_text("mine")
    with pytest.raises(FileExistsError):
        compare_losses(data_dir, out, LOSSES, **OPTIONS)
    assert note.read_text() == "mine"
    note.unlink()
    assert compare_losses(data_dir, out, LOSSES, **OPTIONS) == result


def test_losses_are_named_once(tmp_path, data_dir):
    with pytest.raises(ValueError, match="each once"):
        compare_losses(data_dir, tmp_path, ["focal", "focal"])
    with pytest.raises(ValueError, match="at least one loss"):
        compare_losses(data_dir, tmp_path, [])
