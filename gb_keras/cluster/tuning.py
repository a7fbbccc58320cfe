"""A search for the options of a training: what is searched, and the Katib Experiment of it."""

import dataclasses
import math
from collections.abc import Sequence

from gb_keras.cluster.job import TrainingJob
from gb_keras.cluster.manifests import MANAGED_BY, NODE, Manifest, train_job

METRIC = "val_balanced_accuracy"
# Lines of Keras, such as `- val_balanced_accuracy: 0.9123 - val_loss: 3.2e-01`.
METRIC_FORMAT = r"([\w|-]+)\s*:\s*([+-]?\d*(\.\d+)?([Ee][+-]?\d+)?)"
# What Katib puts in the place of a trial's name, and of a parameter.
TRIAL_NAME = "${trialParameters.trialName}"
_LOG = "log:"


@dataclasses.dataclass(frozen=True)
class Search:
    """An option of `gb-keras train` and the values that are tried.

    Attributes:
        option: Its name without dashes in front, such as `"learning-rate"`.
        kind: `"double"`, `"int"` or `"categorical"`, as Katib names them.
        values: The least and the greatest, or all choices.
        logarithmic: Whether orders of magnitude are equally likely, instead of values.

    Example:
        >>> Search.parse("learning-rate=log:1e-4..1e-1")
        Search(option='learning-rate', kind='double', values=('1e-4', '1e-1'), logarithmic=True)
        >>> Search.parse("loss=focal,gradient_balanced").values
        ('focal', 'gradient_balanced')
    """

    option: str
    kind: str
    values: tuple[str, ...]
    logarithmic: bool = False

    @classmethod
    def parse(cls, text: str) -> "Search":
        """Read `OPTION=LEAST..GREATEST`, `OPTION=log:LEAST..GREATEST` or `OPTION=A,B,C`.

        Raises:
            ValueError: The text is none of these.
        """
        option, _, space = text.partition("=")
        option = option.removeprefix("--")
        bounds = space.removeprefix(_LOG).split("..")
        logarithmic = space.startswith(_LOG)
        choices = tuple(choice for choice in space.split(",") if choice)
        if option and len(bounds) == 2 and all(map(_is_number, bounds)):
            least, greatest = map(float, bounds)
            if least < greatest and (least > 0 or not logarithmic):
                kind = "int" if all(bound.isdecimal() for bound in bounds) else "double"
                return cls(option, kind, tuple(bounds), logarithmic)
        elif option and len(choices) > 1 and not logarithmic:
            return cls(option, "categorical", choices)
        raise ValueError(
            "Expected what to search as OPTION=LEAST..GREATEST, OPTION=log:LEAST..GREATEST (above "
            f"0) or OPTION=A,B. Received: {text!r}. Try learning-rate=log:1e-4..1e-1 or "
            "loss=focal,gradient_balanced."
        )

    def manifest(self) -> Manifest:
        """The parameter of the Experiment."""
        if self.kind == "categorical":
            space: Manifest = {"list": list(self.values)}
        else:
            space = {"min": self.values[0], "max": self.values[1]}
            if self.logarithmic:
                space["distribution"] = "logUniform"
        return {"name": self.option, "parameterType": self.kind, "feasibleSpace": space}


def experiment(
    job: TrainingJob, searches: Sequence[Search], *, num_trials: int, num_parallel: int
) -> Manifest:
    """The Katib Experiment that runs a training with many values of its options.

    Each trial is a TrainJob of its own; the best one has the greatest balanced accuracy in
    validation at its end.

    Args:
        job: The training without the options that are searched; `--output` in its arguments must
            hold `TRIAL_NAME`, so that each trial has a folder of its own.
        searches: What is searched, at least one.
        num_trials: Trials in all, at least 1.
        num_parallel: Trials that run at the same time, at least 1.

    Returns:
        The manifest.

    Raises:
        ValueError: An argument is out of its range, or an option is searched twice.
    """
    names = [search.option for search in searches]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"Expected options to search, each once. Received: {names}.")
    for option, value in (("trials", num_trials), ("parallel", num_parallel)):
        if value < 1:
            raise ValueError(
                f"Expected {option} to be a number of at least 1. Received: {option}={value!r}."
            )
    arguments = [*job.arguments]
    for name in names:
        arguments += [f"--{name}", f"${{trialParameters.{name}}}"]
    template = train_job(dataclasses.replace(job, arguments=tuple(arguments)))
    # The trial's name becomes the job's, by which its nodes find each other.
    del template["metadata"]
    template["spec"]["trainer"]["env"][0]["value"] = TRIAL_NAME
    references = [{"name": name, "reference": name} for name in names]
    references.append({"name": "trialName", "reference": "${trialSpec.Name}"})
    return {
        "apiVersion": "kubeflow.org/v1beta1",
        "kind": "Experiment",
        "metadata": {"name": job.name, "labels": dict(MANAGED_BY)},
        "spec": {
            "objective": {
                "type": "maximize",
                "objectiveMetricName": METRIC,
                # The model that a trial leaves is that of its last epoch.
                "metricStrategies": [{"name": METRIC, "value": "latest"}],
            },
            "algorithm": {"algorithmName": "random"},
            "maxTrialCount": num_trials,
            "parallelTrialCount": num_parallel,
            "maxFailedTrialCount": math.ceil(num_trials / 4),
            "parameters": [search.manifest() for search in searches],
            "metricsCollectorSpec": {
                "collector": {"kind": "StdOut"},
                "source": {"filter": {"metricsFormat": [METRIC_FORMAT]}},
            },
            "trialTemplate": {
                "primaryContainerName": NODE,
                "trialParameters": references,
                "trialSpec": template,
            },
        },
    }


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
