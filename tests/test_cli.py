import importlib.metadata
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
import time

import keras
import pytest
import typer
from typer.testing import CliRunner

import gb_keras
from gb_keras import backbones, cli, distribution
from gb_keras.stages import methods, optimizers
from gb_keras.stages.compare import compare, compare_losses
from gb_keras.stages.evaluate import evaluate
from gb_keras.stages.export import export
from gb_keras.stages.prepare import prepare
from gb_keras.stages.train import train
from gb_keras.stages.train_config import DTYPE_POLICIES

runner = CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"})


def invoke(*arguments):
    return runner.invoke(cli.app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli") / "data"
    result = invoke("prepare", "--data", "digits", "--long-tail-factor", 50, "--output", folder)
    assert result.exit_code == 0, result.output
    assert "digits: 10 classes" in result.output
    assert re.search(r"train\s+\d+ images, \d+ to 1\d\d a class", result.output)
    return folder


def options(command):
    """Default of each option of a command, by the name of its parameter."""
    parameters = inspect.signature(command).parameters.values()
    return {each.name: each.default for each in parameters if each.name != "context"}


# Names that the command line shortens, since there all arguments are named.
SHORT = {
    "output_dir": "output",
    "data_dir": "data",
    "run_dir": "run",
    "beam_options": "beam_option",
}


@pytest.mark.parametrize(
    ("command", "stage"),
    [
        (cli.prepare, prepare),
        (cli.train, train),
        (cli.evaluate, evaluate),
        (cli.cluster.export, export),
    ],
)
def test_options_are_those_of_the_stage(command, stage):
    given = options(command)
    given.pop("config", None)  # A file of the others.
    of_stage = options(stage)
    of_stage.pop("callbacks", None)  # For programs.
    assert given == {SHORT.get(name, name): default for name, default in of_stage.items()}


def test_options_of_compare_are_those_of_its_two_stages():
    of_training = {
        name: default
        for name, default in options(train).items()
        # Chosen by compare_losses itself, for each of its runs.
        if name
        not in ("data_dir", "output_dir", "loss", "resume", "log_dir", "strategy", "callbacks")
    }
    of_comparing = {"baseline": options(compare)["baseline"]}
    own = {"output", "evaluations", "data", "loss"}
    given = options(cli.compare)
    assert {name: given[name] for name in given if name not in own} == of_training | of_comparing
    assert set(options(compare)) == {"evaluation_dirs", "output_dir", "baseline"}
    assert set(options(compare_losses)) == {"data_dir", "output_dir", "losses", "train_options"}


def test_help_of_every_command_names_every_option_and_choice():
    group = typer.main.get_command(cli.app)
    for name, command in group.commands.items():
        if name == "submit":
            continue  # A group of commands, with tests of its own.
        result = invoke(name, "--help")
        assert result.exit_code == 0, result.output
        words = " ".join(result.output.split())
        assert re.search(rf"gb-keras {name} (-|evaluations|folder:)", words)
        for parameter in command.params:
            if parameter.name == "help":
                continue
            assert parameter.help, f"{name} {parameter.name} has no help"
            option = parameter.opts[0].startswith("--")
            assert (parameter.opts[0] if option else parameter.metavar) in words
    choices = {
        "loss": methods.names(),
        # Those of Keras are too many; the error that a wrong name gives has them all.
        "backbone": [name for name in backbones.names() if not backbones.get(name).has_weights],
        "optimizer": optimizers.OPTIMIZERS,
        "schedule": optimizers.SCHEDULES,
        "dtype_policy": DTYPE_POLICIES,
        "strategy": distribution.NAMES,
    }
    for command in ("train", "compare"):
        for parameter in group.commands[command].params:
            for choice in choices.get(parameter.name, ()):
                assert re.search(rf"\b{choice}\b", parameter.help)


def test_version_and_no_arguments():
    assert invoke("--version").output == f"gb-keras {gb_keras.__version__}\n"
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", gb_keras.__version__)
    assert gb_keras.__version__ == importlib.metadata.version("gb-keras")
    assert "prepare" in invoke().output


def test_train_evaluate_compare(data, tmp_path):
    # The second run is the first one, with another loss.
    repeated = ("--config", tmp_path / "runs" / "cross_entropy" / "config.json")
    for loss, given in (
        ("cross_entropy", ("--data", data, "--epochs", 1, "--log-dir", tmp_path / "logs")),
        ("gradient_balanced", repeated),
    ):
        run, evaluation = tmp_path / "runs" / loss, tmp_path / "evaluations" / loss
        result = invoke("train", "--output", run, "--loss", loss, *given, "--verbose", 0)
        assert result.exit_code == 0, result.output
        assert json.loads((run / "config.json").read_text())["epochs"] == 1
        assert (run / "logs").exists() == (given is repeated)
        result = invoke("evaluate", "--run", run, "--data", data, "--output", evaluation)
        assert result.exit_code == 0, result.output
        metrics = json.loads((evaluation / "metrics.json").read_text())["metrics"]
        assert f"balanced_accuracy           {metrics['balanced_accuracy']:.4f}" in result.output
    assert (tmp_path / "logs" / "train").is_dir()
    result = invoke(
        "compare", *sorted((tmp_path / "evaluations").iterdir()),
        "--output", tmp_path / "comparison", "--baseline", "cross_entropy",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    table, _, _ = (tmp_path / "comparison" / "comparison.md").read_text().partition("![")
    assert table.strip() in result.output
    assert "![" not in result.output


def test_compare_trains_what_it_is_to_compare(data, tmp_path):
    command = (
        "compare", "--data", data, "--loss", "focal", "--loss", "ghm_c", "--epochs", 1,
        "--momentum", 0.5, "--batch-size", 128, "--verbose", 0, "--output", tmp_path / "out",
    )  # fmt: skip
    result = invoke(*command)
    assert result.exit_code == 0, result.output
    assert "focal" in result.output
    configs = {
        loss: json.loads((tmp_path / "out" / loss / "run" / "config.json").read_text())
        for loss in ("focal", "ghm_c")
    }
    assert configs["ghm_c"]["batch_size"] == 128
    assert {loss: config["momentum"] for loss, config in configs.items()} == {
        "focal": None,
        "ghm_c": 0.5,
    }
    model = keras.models.load_model(tmp_path / "out" / "ghm_c" / "run" / "model.keras")
    assert model.loss.momentum == 0.5
    # Once more: nothing is trained again.
    result = invoke(*command)
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--data", "nowhere", "--output", "x"], "gb-keras prepare"),
        (["train", "--data", "nowhere", "--output", "x", "--loss", "focl"], "mean 'focal'"),
        (["train", "--data", "d", "--output", "x", "--momentum", "1"], "`momentum` in [0, 1)"),
        (["train", "--data", "nowhere", "--output", "x", "--verbose", "loud"], "verbose"),
        (["prepare", "--data", "digit", "--output", "x"], "digits"),
        (["prepare", "--data", "digits", "--beam-option", "x=1", "--output", "x"], "Apache Beam"),
        (["evaluate", "--run", "nowhere", "--data", "nowhere", "--output", "x"], "nowhere"),
        (["compare", "--output", "x"], "at least one evaluation"),
        (["compare", "a", "b", "--output", "x", "--epochs", "3"], "--epochs; training needs"),
        (["compare", "a", "--data", "d", "--loss", "focal", "--output", "x"], "do not go with"),
        (["compare", "--data", "d", "--baseline", "focal", "--output", "x"], "--baseline"),
        (["compare", "--data", "nowhere", "--output", "x"], "at least one loss"),
        (["compare", "--data", "d", "--loss", "focal", "--momentum", "0.9", "--output", "x"],
         "loss that takes momentum, one of gradient_balanced, ghm_c"),
    ],
)  # fmt: skip
def test_mistakes_are_one_line_on_stderr(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: Expected ")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_mistakes_of_numbers_and_names_are_typers_own(tmp_path):
    for arguments in (["--epochs", "0"], ["--epochs", "many"], ["--epoch", "3"]):
        result = invoke("train", "--data", "d", "--output", tmp_path / "x", *arguments)
        assert result.exit_code == 2
        assert "--epoch" in result.stderr


def test_a_run_that_diverges_is_no_mistake_of_usage(data, tmp_path):
    result = invoke(
        "train", "--data", data, "--output", tmp_path / "run", "--optimizer", "sgd",
        "--learning-rate", "1e38", "--epochs", 1, "--verbose", 0,
    )  # fmt: skip
    assert result.exit_code == 1
    assert "Error: Expected finite losses" in result.stderr


def test_a_damaged_record_file_is_said(data, tmp_path):
    damaged = tmp_path / "data"
    shutil.copytree(data, damaged)
    for file in damaged.glob("*-train.tfrecord*"):
        file.write_bytes(file.read_bytes()[:5000])
    result = invoke("train", "--data", damaged, "--output", tmp_path / "run", "--epochs", 1)
    assert result.exit_code == 1
    assert "Expected whole record files" in result.stderr
    assert "Prepare the data set anew" in result.stderr


def test_interruption_tells_how_to_go_on(data, tmp_path, monkeypatch):
    from gb_keras.stages import checkpoints

    def interrupt(self, epoch, logs=None):
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoints.EpochCheckpoint, "on_epoch_end", interrupt)
    result = invoke("train", "--data", data, "--output", tmp_path / "run", "--verbose", 0)
    assert result.exit_code == 130
    assert "Interrupted." in result.stderr
    assert "--resume" in result.stderr


def test_an_unexpected_error_says_its_type_and_how_to_see_more(tmp_path, monkeypatch):
    def fail(*arguments, **options):
        raise KeyError("key")

    monkeypatch.setattr("gb_keras.stages.train.train", fail)
    result = invoke("train", "--data", "d", "--output", tmp_path / "x")
    assert result.exit_code == 1
    assert result.stderr == "Error: KeyError: 'key' (gb-keras --debug ... shows where)\n"


@pytest.mark.parametrize("environment", [{}, {"GB_KERAS_DEBUG": "1"}])
def test_debug_shows_the_error_itself(tmp_path, environment):
    flags = [] if environment else ["--debug"]
    result = runner.invoke(
        cli.app, [*flags, "train", "--data", "d", "--output", str(tmp_path / "x")], env=environment
    )
    assert isinstance(result.exception, FileNotFoundError)


def test_the_command_runs_in_a_process_of_its_own(tmp_path):
    command = [sys.executable, "-m", "gb_keras"]
    environment = {**os.environ, "NO_COLOR": "1"}
    done = subprocess.run(
        [*command, "prepare", "--data", "digits", "--output", str(tmp_path / "data")],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    assert "10 classes" in done.stdout
    wrong = subprocess.run(
        [*command, "train", "--data", str(tmp_path), "--output", str(tmp_path / "run")],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert wrong.returncode == 2
    assert "Error: Expected a data set made by" in wrong.stderr
    assert "Traceback" not in wrong.stderr


def test_help_is_fast_and_imports_nothing_heavy():
    # The package's own __init__ is left out: it is not the command line's to say what it imports.
    program = textwrap.dedent(
        """
        import importlib.util, sys, types
        package = types.ModuleType("gb_keras")
        package.__path__ = importlib.util.find_spec("gb_keras").submodule_search_locations
        sys.modules["gb_keras"] = package
        import gb_keras.cli
        try:
            gb_keras.cli.app(["train", "--help"])
        except SystemExit:
            pass
        heavy = {"tensorflow", "keras", "numpy", "pandas", "sklearn", "matplotlib"}
        assert not heavy & set(sys.modules), heavy & set(sys.modules)
        """
    )
    start = time.monotonic()
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
    # 0.3 s on a machine with nothing else to do.
    assert time.monotonic() - start < 3.0
