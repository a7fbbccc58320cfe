"""The learning benchmark: regimes, records that survive, tests of significance, reports."""

import dataclasses
import json
import re

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks.learning import records, regimes, suites, tables, trial
from benchmarks.learning.__main__ import _SUITES, app
from benchmarks.learning.report import markdown, page
from benchmarks.learning.significance import mean_and_error, outcome
from gb_keras.stages import methods


def test_a_task_is_long_tailed_and_noisy_in_training_alone():
    regime = regimes.Regime("digits", long_tail=10, noise=0.3)
    task, clean = regimes.load(regime, 1), regimes.load(dataclasses.replace(regime, noise=0), 1)
    assert np.bincount(clean.train.labels)[[0, 9]].tolist() == [124, 12]
    np.testing.assert_array_equal(task.train.images, clean.train.images)
    assert (task.train.labels != clean.train.labels).mean() == pytest.approx(0.3, abs=0.001)
    for split in ("validation", "test"):
        np.testing.assert_array_equal(getattr(task, split).labels, getattr(clean, split).labels)
    everything = [getattr(task, split) for split in ("train", "validation", "test")]
    ids = [image.tobytes() for split in everything for image in split.images]
    assert len(set(ids)) == len(ids)


def test_equal_seeds_are_equal_tasks_and_others_are_not():
    regime = regimes.REGIMES["digits-lt30"]
    first, again, other = (regimes.load(regime, seed).train for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.images, again.images)
    assert first.images.tobytes() != other.images.tobytes()


def test_so_many_of_each_class():
    task = regimes.load(regimes.Regime("digits", per_class=7), 0)
    assert np.bincount(task.train.labels).tolist() == [7] * 10


@pytest.mark.parametrize("left", [b'{"key": "b", "fi', b""], ids=["half", "whole"])
def test_records_survive_an_interruption(tmp_path, left):
    path = tmp_path / "records.jsonl"
    records.append(path, {"key": "a"})
    with path.open("ab") as file:
        file.write(left)
    assert [record["key"] for record in records.read(path)] == ["a"]
    records.append(path, {"key": "b"})
    assert [record["key"] for record in records.read(path)] == ["a", "b"]


@pytest.mark.parametrize("line", ["no json\n", "[1]\n", '{"other": 1}\n'])
def test_what_is_no_record_is_refused_with_its_place(tmp_path, line):
    path = tmp_path / "records.jsonl"
    path.write_text('{"key": "a"}\n' + line)
    with pytest.raises(ValueError, match="line 2 of"):
        records.read(path)


def test_a_trial_twice_is_refused(tmp_path):
    path = tmp_path / "records.jsonl"
    path.write_text('{"key": "a"}\n{"key": "a"}\n')
    with pytest.raises(ValueError, match="each trial once"):
        records.read(path)


def test_outcomes_are_those_of_a_paired_t_test():
    # Differences 1, 2, 3: t = 2 / (1 / sqrt(3)) = 3.46 with 2 degrees of freedom, p = 0.074.
    assert outcome([2.0, 4.0, 6.0], [1.0, 2.0, 3.0]) == "tie"
    # Differences 2, 2.5, 3: t = 2.5 / (0.5 / sqrt(3)) = 8.66, p = 0.013.
    assert outcome([3.0, 4.5, 6.0], [1.0, 2.0, 3.0]) == "win"
    assert outcome([1.0, 2.0, 3.0], [3.0, 4.5, 6.0]) == "loss"
    assert outcome([1.0], [0.0]) == "tie"
    mean, error = mean_and_error([1.0, 2.0, 3.0, 6.0])
    assert mean == 3.0
    assert error == pytest.approx(np.sqrt(14 / 3) / 2)


def record(method, seed, value, curve, regime="digits-lt30", nll=0.5):
    values = dict.fromkeys(tables_metrics(), value) | {"negative_log_likelihood": nll}
    return {
        "key": f"{regime}/mlp/{method}/{seed}",
        "regime": regime,
        "network": "mlp",
        "method": method,
        "label": method,
        "seed": seed,
        "final": values,
        "best": values,
        "curves": {"balanced_accuracy": curve},
    }


def tables_metrics():
    from gb_keras.stages.evaluate import METRICS

    return METRICS


MADE_UP = [
    record("gradient_balanced", 0, 0.80, [0.5, 0.8], nll=0.4),
    record("gradient_balanced", 1, 0.82, [0.6, 0.8], nll=0.4),
    record("cross_entropy", 0, 0.70, [0.1, 0.5, 0.4]),
    record("cross_entropy", 1, 0.72, [0.1, 0.5, 0.6]),
    record("focal", 0, 0.90, [0.9]),
    record("focal", 1, 0.92, [0.9]),
]


def test_the_best_peer_in_ranking_is_found_by_its_own_metric():
    ranked = {"gradient_balanced": 0.75, "cross_entropy": 0.7, "focal": 0.6}
    records = [
        {**each, "final": {**each["final"], "mean_average_precision": ranked[each["label"]]}}
        for each in MADE_UP
    ]
    by_start = {goal.what.split(",")[0]: goal for goal in tables.goals(tables.results(records))}
    assert by_start["mean advantage over focal"].reached == "-10.0 points over 1 regimes"
    ranking = by_start["mean advantage in mean average precision over cross_entropy"]
    assert (ranking.reached, ranking.met) == ("+5.0 points over 1 regimes", True)


def test_goals_are_computed_from_the_records():
    found = tables.results(MADE_UP)
    assert found.methods == ["gradient_balanced", "cross_entropy", "focal"]
    column = ("digits-lt30", "mlp")
    assert found.outcome(column, "cross_entropy") == "win"
    assert found.outcome(column, "focal") == "loss"
    # The baseline is best at epochs 2 and 3; ours is as good at epochs 1 and 1.
    assert tables.epochs_to_baseline_best(found, column, "gradient_balanced") == [(2, 1), (3, 1)]
    assert tables.best_single_peer(found, found.columns) == "focal"
    reached = {goal.what: (goal.reached, goal.met) for goal in tables.goals(found)}
    by_start = {what.split(",")[0]: value for what, value in reached.items()}
    lost = by_start["regimes in which a peer is significantly better in balanced accuracy"]
    assert lost == ("1 of 1: digits-lt30 (mlp) to focal", False)
    assert by_start["mean advantage over focal"] == ("-10.0 points over 1 regimes", False)
    assert by_start["mean advantage over cross_entropy"] == ("+10.0 points over 1 regimes", True)
    assert by_start["epochs to the best of cross_entropy"] == (
        "2.5 times fewer over 2 runs, of which 0 never got there",
        False,
    )


def test_reports_show_every_method_and_mark_who_is_better():
    text, html = markdown(tables.results(MADE_UP)), page(tables.results(MADE_UP))
    assert "| gradient_balanced | 81.0 ± 1.0 |" in text
    assert "| focal | **91.0 ± 1.0 !** |" in text
    assert html.count("<svg") == 3
    for method in ("gradient_balanced", "cross_entropy", "focal"):
        assert method in html


def test_a_tuned_peer_is_its_best_setting_in_validation():
    """The test split, on which the other setting is better, has no say."""
    peer = [record("focal", 0, 0.6, [0.5, 0.9]), record("focal", 0, 0.8, [0.9, 0.7])]
    peer[1]["label"] = "focal(gamma=1.0)"
    ours = [record("gradient_balanced", 0, 0.7, [0.6]), record("gradient_balanced", 0, 0.75, [0.7])]
    ours[1]["label"] = "gradient_balanced(label_smoothing=0.2)"
    found = tables.tuned_results([*peer, *ours])
    column = ("digits-lt30", "mlp")
    assert {
        label: found.values(column, label, "balanced_accuracy")[0] for label in found.methods
    } == {"gradient_balanced": 0.7, "gradient_balanced, tuned": 0.75, "focal": 0.6}
    assert tables.best_single_peer(found, found.columns) == "focal"


def test_a_setting_is_chosen_by_the_seeds_that_all_settings_have():
    """One more seed, on which a setting does well, would choose that."""
    settings = [("focal", 0, 0.5), ("focal(gamma=1.0)", 0, 0.6), ("focal", 1, 0.9)]
    peer = [
        record("focal", seed, value, [value]) | {"label": label} for label, seed, value in settings
    ]
    found = tables.tuned_results([*peer, record("gradient_balanced", 0, 0.7, [0.7])])
    assert found.values(("digits-lt30", "mlp"), "focal", "balanced_accuracy") == {0: 0.6}


def test_methods_are_compared_by_the_seeds_that_all_of_them_have():
    unequal = [*MADE_UP, record("focal", 2, 0.1, [0.1])]
    assert tables.results(unequal) == tables.results(MADE_UP)
    alone = [record("focal", 0, 0.5, [0.5]), record("cross_entropy", 1, 0.5, [0.5])]
    assert len(tables.results(alone).cells) == 2


def test_a_suite_selects_its_records_of_any_seed():
    made = [record("focal", 7, 0.5, [0.5], regime="mnist5k"), record("focal", 0, 0.5, [0.5])]
    assert suites.select("mlp", made) == made[:1]
    assert suites.select("small_cnn", made) == []


def test_help_names_the_suites():
    text = " ".join(CliRunner().invoke(app, ["run", "--help"]).output.split())
    assert set(re.findall(r"\w+", _SUITES)) - {"or"} == set(suites.names())
    assert "glyphs_small_cnn" in text


def test_every_method_is_tuned_over_as_many_settings():
    assert set(suites.TUNED) == set(methods.names())
    assert {len(set(settings)) for settings in suites.TUNED.values()} == {3}


@pytest.mark.parametrize("method", methods.names())
def test_settings_that_are_tried_are_arguments(method):
    for options in suites.TUNED[method]:
        each = trial.Trial("digits", "mlp", method, 0, options)
        found = trial._method(each, np.full(10, 5)).loss.get_config()
        for name, value in options:
            assert name == "learning_rate" or found[name] == value


@pytest.mark.parametrize("suite", suites.names())
def test_suites_hold_each_trial_once(suite):
    keys = [each.key for each in suites.trials(suite, 2)]
    assert len(set(keys)) == len(keys)
    assert {key.rsplit("/", 1)[1] for key in keys} == {"0", "1"}


def test_wrong_options_of_a_loss_are_refused():
    wrong = trial.Trial("digits", "mlp", "focal", 0, (("gama", 1.0),))
    with pytest.raises(ValueError, match="gama"):
        trial.run(wrong)


def test_a_suite_runs_goes_on_and_is_reported(tmp_path, monkeypatch):
    short = dataclasses.replace(regimes.REGIMES["digits-lt30"], epochs=2)
    monkeypatch.setitem(regimes.REGIMES, "digits-lt30", short)
    few_methods = ("cross_entropy", "square_root_resampling", "ldam_drw", "gradient_balanced")

    def few(seed):
        return [trial.Trial("digits-lt30", "mlp", method, seed) for method in few_methods]

    monkeypatch.setitem(suites._SUITES, "quick", few)
    path = tmp_path / "trials.jsonl"
    arguments = ["run", "--suite", "quick", "--seeds", "1", "--jobs", "1"]
    arguments += ["--results", str(tmp_path)]
    runner = CliRunner()
    result = runner.invoke(app, arguments)
    assert result.exit_code == 0, result.output
    lines = path.read_text().splitlines()
    assert [json.loads(line)["method"] for line in lines] == list(few_methods)
    for line in lines:
        found = json.loads(line)
        assert 0.2 < found["final"]["balanced_accuracy"] <= 1
        assert all(len(curve) == 2 for curve in found["curves"].values())
        assert found["seconds"] > 0
    assert runner.invoke(app, arguments).exit_code == 2
    # One is missing: only that one is run, to the same result.
    path.write_text("\n".join(lines[:3]) + "\n")
    assert runner.invoke(app, [*arguments, "--resume"]).exit_code == 0
    again = path.read_text().splitlines()
    assert again[:3] == lines[:3]
    assert json.loads(again[3])["final"] == json.loads(lines[3])["final"]
    reported = runner.invoke(app, ["report", "--suite", "quick", "--results", str(tmp_path)])
    assert reported.exit_code == 0, reported.output
    assert "square_root_resampling" in (tmp_path / "quick.md").read_text()
    assert (tmp_path / "quick.html").exists()
    assert runner.invoke(app, ["report", "--suite", "mlp", "--results", str(tmp_path)]).exit_code
