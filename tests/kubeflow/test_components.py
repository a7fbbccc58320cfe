"""The components: compiled, compared with the stages they wrap, and run."""

import ast
import importlib.metadata
import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from kfp import dsl
from PIL import Image

from components.data_processing.prepare_data import prepare_data
from components.evaluation.compare_models import compare_models
from components.evaluation.evaluate_model import evaluate_model
from components.training.train_model import train_model
from components.training.train_on_cluster import train_on_cluster
from gb_keras.stages import balance_options
from gb_keras.stages.checkpoints import EpochCheckpoint
from gb_keras.stages.compare import compare
from gb_keras.stages.evaluate import evaluate
from gb_keras.stages.prepare import prepare
from gb_keras.stages.train import train
from pipelines.train_and_evaluate import train_and_evaluate
from tests.kubeflow import ir

ROOT = Path(__file__).parents[2]
FOLDERS = {
    prepare_data: ROOT / "components/data_processing/prepare_data",
    train_model: ROOT / "components/training/train_model",
    train_on_cluster: ROOT / "components/training/train_on_cluster",
    evaluate_model: ROOT / "components/evaluation/evaluate_model",
    compare_models: ROOT / "components/evaluation/compare_models",
}
ASSETS = {**FOLDERS, train_and_evaluate: ROOT / "pipelines/train_and_evaluate"}
STAGES = {
    prepare_data: prepare,
    train_model: train,
    evaluate_model: evaluate,
    compare_models: compare,
}
# Arguments of the stages that are artifacts here, or for programs. A task always resumes, if there
# is what.
ARTIFACTS = {"data_dir", "run_dir", "evaluation_dirs", "output_dir", "log_dir"}
ARTIFACTS |= {"resume", "callbacks"}
# What KFP's local runner, which fails on None, and its parameters, which have one type, ask for.
DEFAULTS = {
    "image_size": {None: 0},
    "checkpoint_steps": {None: 0},
    "weights": {None: ""},
    "baseline": {None: ""},
    "augmentation": {None: []},
    "verbose": {"auto": 2},
    "min_images": {None: 0},
    "beam_options": {None: ""},
    **{name: {None: -1.0} for name in balance_options.NAMES},
}
TYPES = {
    str: "STRING",
    int: "NUMBER_INTEGER",
    float: "NUMBER_DOUBLE",
    bool: "BOOLEAN",
    list[str]: "LIST",
    list: "LIST",
    dict: "STRUCT",
}

by_name = pytest.mark.parametrize("component", FOLDERS, ids=lambda each: each.name)
assets_by_name = pytest.mark.parametrize("asset", ASSETS, ids=lambda each: each.name)


def function(asset):
    return getattr(asset, "python_func", None) or asset.pipeline_func


@by_name
def test_compiles_to_what_a_cluster_reads(component, tmp_path):
    spec = ir.compile_spec(component, tmp_path)
    assert spec.pipeline_info.name == component.name
    (container,) = ir.executors(spec).values()
    # Without an entry point of the image, and without pip: the image holds what it takes.
    assert container.command[0] == "sh"
    assert "kfp.dsl.executor_main" in " ".join(container.command)
    assert "pip" not in " ".join(container.command).split()


@pytest.mark.parametrize("component", STAGES, ids=lambda each: each.name)
def test_every_option_of_the_stage_is_a_parameter(component):
    options = {
        name: DEFAULTS.get(name, {}).get(parameter.default, parameter.default)
        for name, parameter in inspect.signature(STAGES[component]).parameters.items()
        if name not in ARTIFACTS
    }
    parameters = {
        name: parameter.default
        for name, parameter in inspect.signature(component.python_func).parameters.items()
        if parameter.annotation in TYPES
    }
    assert parameters == options
    types = {
        name: list[str] if value == [] else type(value)
        for name, value in parameters.items()
        if value is not inspect._empty
    }
    assert types.items() <= component.python_func.__annotations__.items()


@by_name
def test_parameters_and_descriptions_are_in_the_yaml(component, tmp_path):
    (spec,) = ir.compile_spec(component, tmp_path).components.values()
    for name, parameter in inspect.signature(component.python_func).parameters.items():
        if parameter.annotation in TYPES:
            entry = spec.input_definitions.parameters[name]
            kind = entry.DESCRIPTOR.fields_by_name["parameter_type"].enum_type
            assert kind.values_by_number[entry.parameter_type].name == TYPES[parameter.annotation]
            if parameter.default is not parameter.empty:
                assert ir.value(entry.default_value) == parameter.default
    entries = [
        *spec.input_definitions.parameters.items(),
        *spec.input_definitions.artifacts.items(),
        *spec.output_definitions.artifacts.items(),
    ]
    assert {name for name, _ in entries} == set(component.python_func.__annotations__)
    for name, entry in entries:
        assert entry.description, f"{name} has no description"


def test_the_image_is_that_of_this_version():
    version = importlib.metadata.version("gb-keras")
    for component in FOLDERS:
        container = component.component_spec.implementation.container
        assert container.image == f"gb-keras:{version}"
    assert f"gb-keras:{version} " in (ROOT / "Dockerfile").read_text()


@assets_by_name
def test_only_kfp_and_the_standard_library_are_imported_at_the_top(asset):
    module = ast.parse(Path(inspect.getfile(function(asset))).read_text())
    imports = [node for node in module.body if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {
        name.split(".")[0]
        for node in imports
        if not getattr(node, "level", 0)  # Its own files beside.
        for name in ([node.module] if isinstance(node, ast.ImportFrom) else [node.names[0].name])
    }
    assert names <= sys.stdlib_module_names | {"kfp", "components"}
    if asset in FOLDERS:
        assert "components" not in names


def test_a_component_file_compiles_itself(tmp_path):
    target = tmp_path / "compare_models.yaml"
    script = FOLDERS[compare_models] / "component.py"
    subprocess.run([sys.executable, "-W", "error", script, target], cwd=tmp_path, check=True)
    assert ir.load(target).pipeline_info.name == "compare-models"
    done = subprocess.run([sys.executable, script], capture_output=True, text=True)
    assert done.returncode == 2
    assert "yaml_file" in done.stderr


@assets_by_name
def test_metadata_has_what_pipelines_components_asks_for(asset):
    metadata = yaml.safe_load((ASSETS[asset] / "metadata.yaml").read_text())
    assert set(metadata) == {
        "name", "description", "stability", "dependencies", "tags", "lastVerified", "ci",
    }  # fmt: skip
    assert metadata["name"] == ASSETS[asset].name == function(asset).__name__
    assert metadata["description"] == asset.component_spec.description.splitlines()[0]
    assert metadata["stability"] in ("alpha", "beta", "stable")
    kubeflow = {each["name"]: each["version"] for each in metadata["dependencies"]["kubeflow"]}
    assert list(kubeflow) == ["Pipelines", *(["Trainer"] if asset is train_on_cluster else [])]
    assert all(re.fullmatch(r">=\d+\.\d+\.\d+", version) for version in kubeflow.values())
    assert all(isinstance(tag, str) for tag in metadata["tags"])
    assert metadata["lastVerified"].utcoffset().total_seconds() == 0
    assert metadata["ci"] == {"skip_dependency_probe": False}


def rows(readme, heading):
    """Cells of the table below a heading."""
    section = re.search(rf"^## {heading}$(.*?)(^## |\Z)", readme, re.DOTALL | re.MULTILINE)[1]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


@assets_by_name
def test_readme_documents_every_input_and_output(asset):
    readme = (ASSETS[asset] / "README.md").read_text()
    spec = asset.component_spec
    inputs = rows(readme, "Inputs")
    assert [row[0].strip("`") for row in inputs] == list(spec.inputs)
    for name, _, default, description in inputs:
        entry = spec.inputs[name.strip("`")]
        if not entry.optional:
            assert default == "required"
        elif isinstance(entry.default, list | dict):
            assert json.loads(default.strip("`")) == entry.default
        else:
            assert default.strip("`") == (str(entry.default) or "empty")
        assert description.replace("`", "") == " ".join(entry.description.split())
    outputs = rows(readme, "Outputs")
    assert [row[0].strip("`") for row in outputs] == list(spec.outputs)


def artifact(kind, path):
    return kind(name=path.name, uri=str(path))


def run_training(dataset, folder, **options):
    """The training component in this process, with artifacts as an executor makes them."""
    folder.mkdir(exist_ok=True)
    outputs = {
        "model": artifact(dsl.Model, folder / "model"),
        "metrics": artifact(dsl.Metrics, folder / "metrics"),
        "logs": artifact(dsl.Artifact, folder / "logs"),
    }
    train_model.python_func(dataset=dataset, **outputs, epochs=2, verbose=0, **options)
    return outputs


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    result = artifact(dsl.Dataset, tmp_path_factory.mktemp("kubeflow") / "dataset")
    prepare_data.python_func(data="digits", dataset=result, long_tail_factor=50.0)
    return result


# Keras makes NumPy arrays of variables, whose __array__ does not know NumPy 2's `copy`, on saving.
saves_models = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def test_prepared_data_tells_what_it_is(dataset):
    assert dataset.metadata["data"] == "digits"
    assert dataset.metadata["options"]["long_tail_factor"] == 50.0
    assert dataset.metadata["num_classes"] == 10
    assert set(dataset.metadata["num_examples"]) == {"train", "validation", "test"}


@saves_models
def test_a_training_that_is_tried_again_goes_on(dataset, tmp_path, monkeypatch):
    whole = run_training(dataset, tmp_path / "whole", momentum=0.9)
    save = EpochCheckpoint.on_epoch_end

    def fail_after_the_first(self, epoch, logs=None):
        if epoch == 1:
            raise RuntimeError("The node is gone.")
        save(self, epoch, logs)

    with monkeypatch.context() as patch:
        patch.setattr(EpochCheckpoint, "on_epoch_end", fail_after_the_first)
        with pytest.raises(RuntimeError, match="node"):
            run_training(dataset, tmp_path / "retried", momentum=0.9)
    assert (tmp_path / "retried" / "model" / "checkpoints" / "epoch-0001").is_dir()
    epochs = []

    def save_and_count(self, epoch, logs=None):
        epochs.append(epoch)
        save(self, epoch, logs)

    monkeypatch.setattr(EpochCheckpoint, "on_epoch_end", save_and_count)
    retried = run_training(dataset, tmp_path / "retried", momentum=0.9)
    assert epochs == [1]
    assert retried["metrics"].metadata == whole["metrics"].metadata
    metadata = retried["model"].metadata
    assert (metadata["loss"], metadata["momentum"]) == ("gradient_balanced", 0.9)
    assert retried["model"].framework == "keras"
    # A cluster's store of metadata takes no null.
    assert None not in retried["model"].metadata.values()


@saves_models
def test_evaluation_leaves_out_what_it_cannot_measure_and_what_is_too_large(tmp_path):
    rng = np.random.default_rng(0)
    for label in range(101):
        (tmp_path / "images" / f"{label:03d}").mkdir(parents=True)
        for number in range(10):
            pixels = rng.integers(0, 255, (8, 8), dtype="uint8")
            Image.fromarray(pixels).save(tmp_path / "images" / f"{label:03d}" / f"{number}.png")
    dataset = artifact(dsl.Dataset, tmp_path / "dataset")
    prepare_data.python_func(data=f"folder:{tmp_path / 'images'}", dataset=dataset)
    model = run_training(dataset, tmp_path / "run", loss="focal")["model"]
    outputs = {
        "evaluation": artifact(dsl.Artifact, tmp_path / "evaluation"),
        "metrics": artifact(dsl.Metrics, tmp_path / "metrics"),
        "classification_metrics": artifact(dsl.ClassificationMetrics, tmp_path / "classes"),
        "report": artifact(dsl.HTML, tmp_path / "report"),
    }
    evaluate_model.python_func(
        model=model, dataset=dataset, **outputs, split="validation", many_shot=1, few_shot=1
    )
    result = json.loads((tmp_path / "evaluation" / "metrics.json").read_text())
    assert result["metrics"]["few_shot_recall"] is None
    assert "few_shot_recall" not in outputs["metrics"].metadata
    assert "balanced_accuracy" in outputs["metrics"].metadata
    assert result["confusion_matrix"] is not None
    assert set(outputs["classification_metrics"].metadata) == {"confidenceMetrics"}
    assert len(outputs["classification_metrics"].metadata["confidenceMetrics"]) <= 200
    assert outputs["evaluation"].metadata == {
        "loss": "focal",
        "split": "validation",
        "warnings": [],
    }
    # A file for each, so that the local cache finds them again.
    for name in ("metrics", "classification_metrics"):
        assert json.loads(Path(outputs[name].path).read_text()) == outputs[name].metadata
