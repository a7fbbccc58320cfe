"""The house in order: imports run one way, and what is public says what it takes."""

import ast
import dataclasses
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import gb_keras

ROOT = Path(gb_keras.__file__).parent
# From the ground up. A module imports from lower floors only; within `data` and `stages`, whose
# files are many, from its own floor too, where the next test forbids circles.
FLOORS = (
    (
        "names",
        "replicas",
        "density",
        "density_weights",
        "given_losses",
        "label_smoothing",
        "loss_arguments",
        "margins",
        "class_balance",
        "trust",
        "version",
        "normalized_dense",
        "keras_multi_worker",
    ),
    ("distribution", "watching", "base_loss", "reweighting"),
    ("gradient_watch", "entries"),
    ("statistics", "loss_context"),
    (
        "losses",
        "metrics",
        "multi_label_losses",
        "multi_label_metrics",
        "robust_losses",
        "online_losses",
    ),
    ("balance", "baselines"),
    ("training", "tensorboard"),
    ("backbones", "observation"),
    ("callbacks",),
    ("data",),
    ("stages",),
    ("cli_errors", "cli_config"),
    ("cli_options",),
    ("cluster",),
    ("cli_search",),
    ("cli",),
    ("__main__",),
)
FLOOR_OF = {name: floor for floor, names in enumerate(FLOORS) for name in names}
MODULES = {
    ".".join(path.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in ROOT.rglob("*.py")
}


def imports(path: Path) -> set[str]:
    """Full names of the modules that a file imports, at its top or inside of functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in MODULES else node.module)
    return found


def own_imports(module: str) -> set[str]:
    return {name for name in imports(MODULES[module]) if name.split(".")[0] == "gb_keras"}


@pytest.mark.parametrize("module", sorted(set(MODULES) - {"gb_keras"}))
def test_imports_run_one_way(module):
    room = module.split(".")[1]
    for name in own_imports(module):
        assert name != "gb_keras", f"{module} imports the whole package"
        other = name.split(".")[1]
        allowed = FLOOR_OF[other] < FLOOR_OF[room] or other == room
        assert allowed, f"{module} imports {name}, which is not below it"


def test_no_circles():
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join((*path, module))
        if module not in done:
            for name in own_imports(module):
                visit(name, (*path, module))
            done.add(module)

    for module in MODULES:
        visit(module, ())


# All but what writes and reads logs beside a training.
PAGE = (
    "metadata",
    "reader",
    "distribution",
    "health",
    "views",
    "class_table",
    "arguments",
    "answers",
    "plugin",
)


@pytest.mark.parametrize("module", PAGE)
def test_what_tensorboard_loads_needs_no_tensorflow(module):
    name = f"gb_keras.tensorboard.{module}"
    packages = {imported.split(".")[0] for imported in imports(MODULES[name])}
    assert not packages & {"tensorflow", "keras"}
    for imported in own_imports(name):
        assert imported.startswith("gb_keras.tensorboard."), imported
        assert imported.rsplit(".", 1)[1] in PAGE


@pytest.mark.parametrize("module", sorted(MODULES))
def test_only_the_cluster_imports_kubeflow(module):
    packages = {name.split(".")[0] for name in imports(MODULES[module])}
    assert "kfp" not in packages
    if not module.startswith("gb_keras.cluster."):
        assert not packages & {"kubeflow", "kubernetes"}


def test_import_brings_nothing_but_what_training_needs():
    program = """
        import keras, sys, tensorflow  # Keras itself imports what it finds installed.
        before = set(sys.modules)
        import gb_keras
        print(sorted({name.split(".")[0] for name in set(sys.modules) - before}))
    """
    output = subprocess.run(
        [sys.executable, "-c", inspect.cleandoc(program)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    brought = set(ast.literal_eval(output)) - sys.stdlib_module_names
    # The others are what TensorBoard reads its files with; zstandard where Beam has brought it, and
    # a client of S3 where that is installed.
    of_s3 = {"boto3", "botocore", "jmespath", "s3transfer"}
    assert brought - of_s3 <= {"gb_keras", "tensorboard", "fsspec", "google", "zstandard"}


PUBLIC = [
    (module, name)
    for module in sorted(MODULES)
    for name, value in vars(importlib.import_module(module)).items()
    if not name.startswith("_")
    and (inspect.isclass(value) or inspect.isfunction(value))
    and value.__module__ == module
    and module.count(".") == 1
    # Typer holds the help of their parameters.
    and module not in ("gb_keras.cli", "gb_keras.cli_search")
]


@pytest.mark.parametrize(("module", "name"), PUBLIC)
def test_docstrings_say_what_goes_in(module, name):
    value = getattr(importlib.import_module(module), name)
    text = inspect.getdoc(value)
    assert text, f"{name} has no docstring"
    section = "Attributes:" if dataclass_like(value) else "Args:"
    for parameter in inspect.signature(value).parameters:
        if parameter not in ("args", "kwargs"):
            assert section in text, f"{name} has no section {section}"
            assert f"{parameter}:" in text, f"{name} does not tell what {parameter} is"


def dataclass_like(value):
    return dataclasses.is_dataclass(value) or (inspect.isclass(value) and issubclass(value, tuple))


def test_public_names():
    names = {name for name in vars(gb_keras) if not name.startswith("_")}
    assert names >= {
        "GradientBalancedLoss",
        "GradientBalancedMixin",
        "GradientBalancedModel",
        "GradientDensity",
        "baselines",
        "distribution",
        "metrics",
    }
    assert (ROOT / "py.typed").exists()
