"""Options of a training in a file."""

import json
from pathlib import Path

import pytest
import typer
import yaml
from typer.testing import CliRunner

from gb_keras import cli, cli_config

runner = CliRunner(env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"})
TRAIN = typer.main.get_command(cli.app).commands["train"]
LISTS = ("augmentation",)
OPTIONS = {
    "data": "digits-lt",
    "epochs": 3,
    "learning_rate": 1,
    "momentum": 0.5,
    "jit_compile": True,
    "augmentation": ["crop", "flip"],
    "weights": None,
}


def named(context):
    """Options that are named, as texts and lists where versions of Typer have paths and tuples."""
    return {
        name: str(value) if isinstance(value, Path) else [*value] if name in LISTS else value
        for name, value in cli_config.named(context).items()
    }


def write(folder, content):
    file = folder / "options.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return file


def test_the_command_line_wins_over_the_file(tmp_path):
    file = write(tmp_path, OPTIONS)
    given = ["--config", str(file), "--output", "run", "--epochs", "5", "--augmentation", "mixup"]
    context = TRAIN.make_context("train", given)
    assert named(context) == {
        "config": str(file),
        "data": "digits-lt",
        "output": "run",
        "epochs": 5,
        "learning_rate": 1.0,
        "momentum": 0.5,
        "jit_compile": True,
        "augmentation": ["mixup"],
    }
    assert context.params["batch_size"] == 64


def test_a_run_is_repeated_from_its_configuration_where_it_is_not_logged(tmp_path):
    config = {"format": 1, "data_dir": "d", "data": "digits", "classes": ["a"], "seed": 3}
    file = write(tmp_path, {**config, "log_dir": "logs", "image_size": None, "loss": "focal"})
    context = TRAIN.make_context("train", ["--config", str(file), "--output", "run"])
    found = named(context)
    wanted = {"data": "d", "output": "run", "seed": 3, "loss": "focal"}
    assert found == {"config": str(file), **wanted}


def test_a_training_that_is_submitted_has_the_options_of_the_file(tmp_path):
    file = write(tmp_path, {**OPTIONS, "jit_compile": False})
    submit = ["submit", "train", "--image", "gb-keras", "--dry-run", "--"]
    given = ["--output", "/w/run", "--data", "/w/data", f"--config={file}"]
    result = runner.invoke(cli.app, [*submit, *given])
    assert result.exit_code == 0, result.output
    trainer = yaml.safe_load(result.stdout)["spec"]["trainer"]
    _, command, *arguments = [*trainer["command"], *trainer["args"]]
    assert command == "train"
    context = TRAIN.make_context("train", arguments)
    assert named(context) == {
        "data": "/w/data",
        "output": "/w/run",
        "epochs": 3,
        "learning_rate": 1.0,
        "momentum": 0.5,
        "jit_compile": False,
        "augmentation": ["crop", "flip"],
        "resume": True,
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "options.json: expected a JSON file of options"),
        ("[1]", "options.json: expected an object of options"),
        ({"epoch": 3}, "options.json: epoch: Expected an option to be one of .* mean 'epochs'"),
        ({"config": "x"}, "config: Expected an option to be one of"),
        ({"epochs": 3.0}, "epochs: expected a whole number. Received: 3.0"),
        ({"epochs": 3.7}, "options.json: epochs: "),
        ({"epochs": "3"}, 'epochs: expected a whole number. Received: "3"'),
        ({"epochs": True}, "epochs: expected a whole number. Received: true"),
        ({"epochs": 0}, "options.json: epochs: "),
        ({"epochs": None}, "epochs: expected a value. Received: null"),
        ({"data": None}, "data: expected a value. Received: null"),
        ({"learning_rate": "1"}, "learning_rate: expected a number"),
        ({"jit_compile": 1}, "jit_compile: expected true or false"),
        ({"augmentation": "flip"}, "options.json: augmentation: expected a list of texts"),
        ({"augmentation": [1]}, "options.json: augmentation: "),
        ({"weights": 3}, "weights: expected a text"),
        ({"data": 3}, "options.json: data: "),
        ({"seed": [1]}, "options.json: seed: "),
    ],
)
def test_mistakes_name_the_file_and_the_option(tmp_path, content, message):
    file = write(tmp_path, content)
    with pytest.raises(typer.BadParameter, match=f"(?s){message}"):
        TRAIN.make_context("train", ["--config", str(file), "--data", "d", "--output", "o"])
    with pytest.raises(typer.BadParameter, match=r"no-such\.json: expected a JSON file of options"):
        TRAIN.make_context("train", ["--config", "no-such.json"])
