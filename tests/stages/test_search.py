"""A search that is killed, gone on with, and looked at; and what is refused before it starts."""

import collections
import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import optuna
import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from gb_keras import cli, cli_config
from gb_keras.stages import files, search_results
from gb_keras.stages.prepare import prepare
from gb_keras.stages.search import _check_failures, _Trials, search
from gb_keras.stages.search_plan import make_plan
from gb_keras.stages.search_space import METRIC, Search
from gb_keras.stages.search_worker import End, Worker

# Its searches are shared by its tests, so one worker takes them all.
pytestmark = pytest.mark.xdist_group("search")

SPACE = ("loss=gradient_balanced,focal", "max-weight=1.5..3.0", "learning-rate=log:1e-4..1e-2")
SEARCHES = [Search.parse(text) for text in SPACE]
Searched = collections.namedtuple("Searched", "folder, data, options, killed, seen, result")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("search") / "data"
    prepare("digits", folder, long_tail_factor=50)
    return folder


def children(pid):
    """Processes that a process has started."""
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def lives(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


def stop_within_a_trial(process, folder):
    """Stop a search, whose processes then wait after an epoch; runs that have had one."""
    for _ in range(100):
        process.send_signal(signal.SIGSTOP)
        if wait_until(lambda: [*folder.glob("trials/*/checkpoints/epoch-*")], seconds=5):
            break
        # It has stopped between two trials.
        process.send_signal(signal.SIGCONT)
        time.sleep(0.2)
    return {path.parents[1] for path in folder.glob("trials/*/checkpoints/epoch-*")}


@pytest.fixture(scope="module")
def searched(data, tmp_path_factory):
    """Two processes, killed with the search in the middle of trials; then one that goes on."""
    folder = tmp_path_factory.mktemp("searches") / "digits"
    small = tmp_path_factory.mktemp("backbone") / "small.keras"
    layers = [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)]
    keras.Sequential(layers).save(small)
    options = {"backbone": str(small), "epochs": 3, "batch_size": 32}
    command = [sys.executable, "-m", "gb_keras", "search", "--trials", "20", "--jobs", "2"]
    command += [part for text in SPACE for part in ("--search", text)]
    command += ["--", "--data", str(data), "--output", str(folder), "--backbone", str(small)]
    process = subprocess.Popen(
        [*command, "--epochs", "3", "--batch-size", "32"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    ended = [process.stdout.readline() for _ in range(3)]
    assert all(f"complete: {METRIC}" in line for line in ended), [*ended, process.stderr.read()]
    with pytest.raises(BlockingIOError, match="no other search works in"):
        search(data, folder, SEARCHES, train_options=options)
    runs = stop_within_a_trial(process, folder)
    workers = children(process.pid)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert wait_until(lambda: not any(map(lives, workers)))
    killed = {run: (run / "config.json").stat().st_mtime_ns for run in runs}
    study = optuna.load_study(study_name="digits", storage=f"sqlite:///{folder}/search.db")
    seen = {trial.number: trial for trial in study.trials}
    # The least learning rate, worse than half of the others; and one with which numbers overflow.
    for rate in (1e-4, 1e38):
        study.enqueue_trial({"loss": "focal", "learning_rate": rate})
    study._storage._backend.engine.dispose()
    with pytest.warns(UserWarning, match="out of range"):
        result = search(data, folder, SEARCHES, train_options=options, num_trials=len(seen) + 2)
    return Searched(folder, data, options, killed, seen, result)


def number(text):
    try:
        return int(text) if text.isdecimal() else float(text)
    except ValueError:
        return text or None


def trials(searched):
    """The table, with exactly the numbers that were written."""
    with open(searched.folder / "trials.csv", newline="") as file:
        rows = [
            {name: number(value) for name, value in row.items()} for row in csv.DictReader(file)
        ]
    return pd.DataFrame(rows).set_index("trial")


def test_a_killed_search_goes_on_where_it_was(searched):
    table = trials(searched)
    assert [*table.index] == [*range(len(searched.seen) + 2)]
    assert len(searched.seen) >= 4
    assert any(trial.state.name == "RUNNING" for trial in searched.seen.values())
    for number, trial in searched.seen.items():
        # No trial was lost or drawn anew.
        drawn = {name: table[name][number] for name in trial.params}
        assert drawn == trial.params
        history = files.read_json(searched.folder / f"trials/{number:04d}/history.json")[METRIC]
        assert len(history) == table["epochs"][number]
        assert (table["state"][number], len(history)) in (
            ("complete", 3),
            ("pruned", 1),
            ("pruned", 2),
        )
        assert history[-1] == table[METRIC][number]
        assert history[: len(trial.intermediate_values)] == [*trial.intermediate_values.values()]
    # Their runs were resumed, not started again.
    assert searched.killed
    for run, written in searched.killed.items():
        assert (run / "config.json").stat().st_mtime_ns == written
        assert not (run / "checkpoints").exists()


def test_a_hopeless_trial_is_pruned_and_a_failed_one_noted(searched):
    pruned, failed = [*trials(searched).tail(2).itertuples()]
    assert (pruned.state, failed.state) == ("pruned", "fail")
    assert pruned.learning_rate == 1e-4
    assert 1 <= pruned.epochs < 3
    assert "FloatingPointError: Expected finite losses" in failed.error
    for number in (pruned.Index, failed.Index):
        run = searched.folder / f"trials/{number:04d}"
        assert not (run / "model.keras").exists()
        assert not (run / "checkpoints").exists()
    counts = trials(searched)["state"].value_counts().to_dict()
    assert searched.result["num_trials"] == counts
    assert counts["fail"] == 1


def test_the_first_trial_has_the_defaults_and_only_some_losses_an_option(searched):
    table = trials(searched)
    first = table.loc[0, ["loss", "max_weight", "learning_rate"]].tolist()
    assert first == ["gradient_balanced", 2.0, 0.001]
    assert searched.result["default"] == table[METRIC][0]
    assert set(table["loss"]) == {"gradient_balanced", "focal"}
    assert (table["max_weight"].isna() == (table["loss"] == "focal")).all()
    for number, row in table.iterrows():
        config = files.read_json(searched.folder / f"trials/{number:04d}/config.json")
        for name in ("loss", "max_weight", "learning_rate"):
            assert config[name] == (None if pd.isna(row[name]) else row[name])


def test_the_best_options_are_those_of_the_best_trial_and_train_takes_them(searched):
    table = trials(searched)
    best = table[METRIC].idxmax()
    assert (searched.result["best_trial"], searched.result["best"]) == (best, table[METRIC].max())
    kept = [path.parent.name for path in searched.folder.glob("trials/*/model.keras")]
    assert kept == [f"{best:04d}"]
    file = searched.folder / "best_config.json"
    command = typer.main.get_command(cli.app).commands["train"]
    given = cli_config.named(command.make_context("train", ["--config", str(file), "--output=o"]))
    assert Path(given["data"]) == searched.data
    wanted = {**searched.options, **searched.result["options"]}
    assert {name: given[name] for name in wanted} == wanted
    config = files.read_json(searched.folder / f"trials/{best:04d}/config.json")
    for name, value in json.loads(file.read_text()).items():
        assert value == config["data_dir" if name == "data" else name]


def test_the_report_is_one_page_with_the_plots_of_optuna(searched):
    page = (searched.folder / "search.html").read_text()
    assert not re.search(r'<(script|link|img)[^>]+(src|href)="(?!data:)', page)
    assert page.count("plotly.js v") == 1
    assert page.count('class="plotly-graph-div"') == 5
    for text in ("How the search went", "How the trials went", "What goes together",
                 "Option by option", "What matters", "FloatingPointError"):  # fmt: skip
        assert text in page
    assert f"{100 * searched.result['best']:.1f} % balanced accuracy" in page
    assert f"defaults reach {100 * searched.result['default']:.1f} %" in page


def test_a_finished_search_trains_nothing_and_others_are_refused(searched, tmp_path):
    arguments = (searched.data, searched.folder, SEARCHES)
    options = {"train_options": searched.options, "num_trials": 3}
    runs = searched.folder / "trials"
    before = {path: path.stat().st_mtime_ns for path in runs.rglob("*")}
    assert search(*arguments, **options) == searched.result
    assert search(*arguments, **options | {"num_trials": 30, "timeout": 0.0}) == searched.result
    command = ["search", "--trials", "3", *(f"--search={text}" for text in SPACE), "--"]
    command += ["--data", str(searched.data), "--output", str(searched.folder)]
    command += ["--verbose", "1", "--resume"]
    given = [part for name, value in searched.options.items()
             for part in ("--" + name.replace("_", "-"), str(value))]  # fmt: skip
    printed = CliRunner().invoke(cli.app, [*command, *given])
    assert printed.exit_code == 0, printed.output
    result = searched.result
    assert (
        f"Best: trial {result['best_trial']}, balanced accuracy {result['best']:.4f} "
        f"(defaults: {result['default']:.4f})"
    ) in printed.stdout
    assert before == {path: path.stat().st_mtime_ns for path in runs.rglob("*")}
    for changes, message in (
        ({"seed": 1}, "search_seed=1, was 0"),
        ({"pruner": "none"}, "pruner='none', was 'median'"),
        ({"train_options": {**searched.options, "epochs": 4}}, "epochs=4, was 3"),
    ):
        with pytest.raises(ValueError, match=f"that the search in .* was started with.*{message}"):
            search(*arguments, **{**options, **changes})
    with pytest.raises(ValueError, match=r"search=\[.*was \["):
        search(*arguments[:2], SEARCHES[1:], **options)
    # The study of a database has the name of its folder, which another search may not take.
    storage = f"sqlite:///{searched.folder}/search.db"
    with pytest.raises(FileExistsError, match="a database without a study 'digits'"):
        search(searched.data, tmp_path / "digits", SEARCHES, **options, storage=storage)
    (tmp_path / "note.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="empty or new folder"):
        search(searched.data, tmp_path, SEARCHES, **options)


def test_values_that_were_tried_are_not_trained_again(searched, tmp_path, capfd):
    choice = [Search.parse("loss=focal,cross_entropy")]
    folder = tmp_path / "search"
    result = search(searched.data, folder, choice, train_options={"epochs": 1}, num_trials=6)
    assert result["num_trials"]["complete"] == 6
    table = pd.read_csv(folder / "trials.csv")
    trained = table[table["same_as"].isna()]
    assert sorted(trained["loss"]) == ["cross_entropy", "focal"]
    assert {path.name for path in (folder / "trials").iterdir()} == {
        f"{number:04}" for number in trained["trial"]
    }
    for _, row in table[table["same_as"].notna()].iterrows():
        same = table.loc[int(row["same_as"])]
        assert (same["loss"], same[METRIC]) == (row["loss"], row[METRIC])
    assert result["best_trial"] in set(trained["trial"])
    assert capfd.readouterr().out.count("again: not trained") == 4


def test_a_process_that_dies_is_a_trial_that_failed(tmp_path):
    worker = Worker(0, shares_gpus=False)
    os.kill(worker._process.pid, signal.SIGKILL)
    worker._process.join()
    worker.start(tmp_path, tmp_path / "run", {})
    assert worker.receive().error == "Its process ended with exit code -9."
    assert not worker.is_alive
    worker.stop()


def test_a_search_is_given_up_when_more_than_a_quarter_of_its_trials_fail(data, tmp_path):
    study = optuna.create_study()
    trials = _Trials(study, make_plan(data, tmp_path, SEARCHES, {}))
    for error in ("No memory.", "Not a number."):
        trials.end(study.ask(), End("failed", [], error))
        assert study.trials[-1].user_attrs["error"] == error
    _check_failures(trials, "Not a number.", num_trials=5)
    with pytest.raises(RuntimeError, match=r"1 of 4 .* Received: 2, the last with Not a number\."):
        _check_failures(trials, "Not a number.", num_trials=4)
    search_results.write_table(study, trials.plan)
    with open(tmp_path / "trials.csv", newline="") as file:
        assert [row["error"] for row in csv.DictReader(file)] == ["No memory.", "Not a number."]


@pytest.mark.parametrize(
    ("searches", "options", "message"),
    [
        (["epochs=1..3", "epochs=2..4"], {}, "options to search, each once"),
        (["epochs=1..3"], {"epochs": 3}, "Received both for: epochs"),
        (["epoch=1..3"], {}, "mean 'epochs'"),
        (["resume=0..1"], {}, "an option of train to be one of"),
        (None, {"epoch": 3}, "mean 'epochs'"),
        (["loss=focal,focall"], {}, "mean 'focal'"),
        (["loss=focal,asymmetric"], {}, "loss='asymmetric'"),
        (["batch-size=0.5..2.5"], {}, "batch_size to be an integer"),
        (["momentum=0.9,1"], {}, r"`momentum` in \[0, 1\)"),
        (["loss=focal,cross_entropy", "momentum=0.9,0.99"], {}, "loss that takes momentum"),
        (["loss=focal,cross_entropy"], {"max_weight": 3.0}, "loss that takes max_weight"),
        (["augmentation=flip,turn"], {}, "augmentation to be one of"),
        (["loss=focal,ghm_c"], {"augmentation": ["mixup"]}, "takes one label"),
    ],
)
def test_what_no_training_takes_is_refused_at_once(data, tmp_path, searches, options, message):
    searches = searches and [Search.parse(text) for text in searches]
    with pytest.raises(ValueError, match=message):
        search(data, tmp_path / "out", searches, train_options=options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_trials": 0}, "num_trials to be an integer of at least 1"),
        ({"num_jobs": 0}, "num_jobs"),
        ({"seed": -1}, "seed"),
        ({"pruner": "mean"}, "pruner to be one of median, none"),
    ],
)
def test_numbers_out_of_range(data, tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        search(data, tmp_path / "out", **changes)
    assert not list(tmp_path.iterdir())


def test_the_default_space(data, tmp_path):
    plan = make_plan(data, tmp_path, None, {"optimizer": "sgd", "momentum": 0.5})
    assert [str(each) for each in plan.searches] == [
        "loss=gradient_balanced,logit_adjustment,class_balanced,label_smoothing,"
        "generalised_cross_entropy",
        "density-exponent=0.0..1.0",
        "prior-strength=0.0..2.0",
        "max-weight=log:1.0..10.0",
        "noise-exponent=0.0..4.0",
        "label-smoothing=0.0..0.2",
        "learning-rate=log:1e-3..1.0",
    ]
    assert plan.first() == {
        "loss": "gradient_balanced",
        "density_exponent": 0.5,
        "prior_strength": 1.0,
        "max_weight": 2.0,
        "noise_exponent": 2.0,
        "label_smoothing": 0.02,
        "learning_rate": 0.001,
    }
    # What is given goes where it is taken.
    assert plan.options({"loss": "class_balanced"}) == {
        "optimizer": "sgd",
        "loss": "class_balanced",
    }
    assert plan.options({"loss": "gradient_balanced"})["momentum"] == 0.5
    blended = make_plan(data, tmp_path, None, {"augmentation": ["mixup"]})
    assert "generalised_cross_entropy" not in blended.losses
    with pytest.raises(ValueError, match="options to search, each once"):
        make_plan(data, tmp_path, None, {"loss": "focal", "learning_rate": 0.1})
