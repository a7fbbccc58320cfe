"""The Katib Experiment of a search for the options of a training."""

import dataclasses
from collections.abc import Sequence

from gb_keras.cluster.job import TrainingJob
from gb_keras.cluster.manifests import MANAGED_BY, NODE, Manifest, train_job
from gb_keras.stages import search_space
from gb_keras.stages.search_space import METRIC, Search

# Lines of Keras, such as `- val_balanced_accuracy: 0.9123 - val_loss: 3.2e-01`.
METRIC_FORMAT = r"([\w|-]+)\s*:\s*([+-]?\d*(\.\d+)?([Ee][+-]?\d+)?)"
# What Katib puts in the place of a trial's name, and of a parameter.
TRIAL_NAME = "${trialParameters.trialName}"


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
    search_space.check_names(searches, ())
    for option, value in (("trials", num_trials), ("parallel", num_parallel)):
        if value < 1:
            raise ValueError(
                f"Expected {option} to be a number of at least 1. Received: {option}={value!r}."
            )
    names = [search.option for search in searches]
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
            "parallelTrialCount": min(num_parallel, num_trials),  # Katib refuses more.
            "maxFailedTrialCount": search_space.max_failed(num_trials),
            "parameters": [_parameter(search) for search in searches],
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


def _parameter(search: Search) -> Manifest:
    """A parameter of the Experiment."""
    if search.kind == "categorical":
        space: Manifest = {"list": list(search.values)}
    else:
        space = {"min": search.values[0], "max": search.values[1]}
        if search.logarithmic:
            space["distribution"] = "logUniform"
    return {"name": search.option, "parameterType": search.kind, "feasibleSpace": space}
