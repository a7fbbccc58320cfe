"""The Katib Experiment of a search: against its schema, and one trial of it run as Katib would."""

import copy
import json
import re

import kubeflow_katib_api.models
import kubeflow_trainer_api.models
import pytest
import yaml

from gb_keras.cluster.experiment import TRIAL_NAME, experiment
from gb_keras.cluster.job import TrainingJob
from gb_keras.stages import files
from gb_keras.stages.prepare import prepare
from gb_keras.stages.search_space import METRIC, Search
from tests.cluster import schemas
from tests.cluster.api import EXPERIMENTS
from tests.cluster.test_command import TRAIN, invoke

SUBMIT = ("submit", "search", "--image", "gb-keras:0.1.0", "--name", "digits")
SUBMIT += ("--claim", "training")
SEARCH = ("--search", "learning-rate=log:1e-4..1e-1", "--search", "loss=focal,gradient_balanced")


def trial(document, name, values):
    """The TrainJob that Katib makes of the template for values of the parameters."""
    template = document["spec"]["trialTemplate"]
    text = json.dumps(template["trialSpec"])
    for parameter in template["trialParameters"]:
        value = values.get(parameter["reference"], name)
        text = text.replace(f"${{trialParameters.{parameter['name']}}}", value)
    assert "${" not in text
    return {**json.loads(text), "metadata": {"name": name}}


def test_the_experiment_and_its_trials_have_known_fields_alone():
    result = invoke(*SUBMIT, *SEARCH, "--nodes", 2, "--gpu", 1, "--dry-run", *TRAIN)
    assert result.exit_code == 0, result.output
    document = yaml.safe_load(result.stdout)
    model = kubeflow_katib_api.models.V1beta1Experiment
    schema = schemas.of_pydantic(model)
    assert schemas.errors(document, schema) == []
    assert model.from_dict(copy.deepcopy(document)).to_dict() == document
    wrong = copy.deepcopy(document)
    wrong["spec"]["parameters"][0]["feasibleSpace"]["log"] = True
    assert schemas.errors(wrong, schema)
    train_job = kubeflow_trainer_api.models.TrainerV1alpha1TrainJob
    job = trial(document, "digits-1", {"learning-rate": "0.01", "loss": "focal"})
    assert schemas.errors(job, schemas.of_pydantic(train_job)) == []
    environment = {each["name"]: each["value"] for each in job["spec"]["trainer"]["env"]}
    assert environment == {"GB_KERAS_JOB_NAME": "digits-1", "GB_KERAS_NUM_NODES": "2"}


def test_a_trial_trains_and_prints_what_katib_reads(tmp_path):
    prepare("digits", tmp_path / "digits")
    result = invoke(
        *SUBMIT, *SEARCH, "--mount", tmp_path, "--dry-run", "--", "--epochs", 2,
        "--data", tmp_path / "digits", "--output", tmp_path / "search",
    )  # fmt: skip
    document = yaml.safe_load(result.stdout)
    job = trial(document, "digits-1", {"learning-rate": "0.0123", "loss": "focal"})
    _, *arguments = [*job["spec"]["trainer"]["command"], *job["spec"]["trainer"]["args"]]
    result = invoke(*arguments)
    assert result.exit_code == 0, result.output
    run = tmp_path / "search" / "digits-1"
    config = files.read_json(run / "config.json")
    assert (config["learning_rate"], config["loss"]) == (0.0123, "focal")
    (pattern,) = document["spec"]["metricsCollectorSpec"]["source"]["filter"]["metricsFormat"]
    found = [match[2] for match in re.finditer(pattern, result.stdout) if match[1] == METRIC]
    history = files.read_json(run / "history.json")[METRIC]
    assert [float(value) for value in found[-2:]] == pytest.approx(history, abs=1e-4)


def test_the_default_space_is_that_of_the_loss():
    options = ("--nodes", 2, "--dry-run", *TRAIN)
    document = yaml.safe_load(invoke(*SUBMIT, *options).stdout)
    schema = schemas.of_pydantic(kubeflow_katib_api.models.V1beta1Experiment)
    assert schemas.errors(document, schema) == []
    assert [each["name"] for each in document["spec"]["parameters"]] == [
        "density-exponent",
        "prior-strength",
        "max-weight",
        "momentum",
        "noise-exponent",
        "label-smoothing",
        "learning-rate",
    ]
    given = ("--loss", "ghm_c", "--learning-rate", "0.01")
    document = yaml.safe_load(invoke(*SUBMIT, *options, *given).stdout)
    assert [each["name"] for each in document["spec"]["parameters"]] == ["momentum"]


def test_each_searched_loss_must_take_what_is_searched():
    searches = ("--search", "loss=gradient_balanced,focal", "--search", "momentum=0.9,0.99")
    result = invoke(*SUBMIT, *searches, "--dry-run", *TRAIN)
    assert result.exit_code == 2
    assert "Expected a loss that takes momentum" in result.stderr
    assert "Received: focal" in result.stderr
    result = invoke(*SUBMIT, "--search", "loss=gradient_balanced,ghm_c", *searches[2:],
                    "--dry-run", *TRAIN)  # fmt: skip
    assert result.exit_code == 0, result.output


def test_a_search_is_created(api):
    result = invoke(*SUBMIT, *SEARCH, *TRAIN)
    assert result.exit_code == 0, result.output
    (request,) = api.requests("post", EXPERIMENTS)
    assert request.data["spec"]["maxTrialCount"] == 12
    assert "kubectl get experiment digits -n research" in result.stderr
    assert "Artifacts: /workspace/run, a folder a trial" in result.stdout


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("epochs=5..50", ("epochs", "int", {"min": "5", "max": "50"})),
        ("--learning-rate=0.1..1", ("learning-rate", "double", {"min": "0.1", "max": "1"})),
        (
            "learning-rate=log:1e-4..1e-1",
            (
                "learning-rate",
                "double",
                {"min": "1e-4", "max": "1e-1", "distribution": "logUniform"},
            ),
        ),
        ("batch-size=32,64", ("batch-size", "categorical", {"list": ["32", "64"]})),
    ],
)
def test_what_is_searched(text, expected):
    job = TrainingJob("digits", "gb-keras:0.1.0", ("--output", TRIAL_NAME), claim="training")
    search = Search.parse(text)
    assert Search.parse(str(search)) == search
    document = experiment(job, [search], num_trials=1, num_parallel=3)
    # Katib refuses more at a time than in all.
    assert document["spec"]["parallelTrialCount"] == 1
    (manifest,) = document["spec"]["parameters"]
    assert tuple(manifest[key] for key in ("name", "parameterType", "feasibleSpace")) == expected


@pytest.mark.parametrize(
    "text",
    ["", "epochs", "=1..2", "epochs=", "epochs=3", "epochs=5..5", "epochs=9..5", "lr=log:0..1",
     "lr=nan..1", "lr=1..inf", "loss=log:a,b", "lr=1..2..3"],
)  # fmt: skip
def test_what_is_no_search(text):
    with pytest.raises(ValueError, match=r"Expected what to search as OPTION=LEAST\.\.GREATEST"):
        Search.parse(text)


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ("no-such=1..2", "No such option: --no-such"),
        ("loss=focal,focall", "Did you mean 'focal'?"),
        ("batch-size=0.5..2", "--batch-size"),
        ("momentum=0.9,1", "`momentum` in [0, 1)"),
        ("epochs=3..5", "Received both for: epochs"),
    ],
)
def test_values_that_no_training_takes(search, message):
    result = invoke(*SUBMIT, "--search", search, "--dry-run", *TRAIN)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"searches": []}, "Expected options to search, each once"),
        ({"searches": [Search.parse("epochs=1..2")] * 2}, "each once"),
        ({"num_trials": 0}, "trials=0"),
        ({"num_parallel": 0}, "parallel=0"),
    ],
)
def test_experiments_that_cannot_be(changes, message):
    job = TrainingJob("digits", "gb-keras:0.1.0", ("--output", TRIAL_NAME), claim="training")
    options = {"searches": [Search.parse("epochs=1..2")], "num_trials": 2, "num_parallel": 1}
    with pytest.raises(ValueError, match=message):
        experiment(job, **{**options, **changes})
