"""What a node of a training job knows of the others: TF_CONFIG from the environment of its pod."""

import json
import os
from collections.abc import Mapping, MutableMapping
from typing import Any

# Set by our manifests. Kubernetes itself sets the index of a pod in its job.
JOB_NAME = "GB_KERAS_JOB_NAME"
NUM_NODES = "GB_KERAS_NUM_NODES"
NODE_INDEX = "JOB_COMPLETION_INDEX"
PORT = 2222


def tf_config(environment: Mapping[str, str]) -> dict[str, Any] | None:
    """The cluster as TensorFlow wants it described, for one pod of a job.

    Kubeflow Trainer makes pod `i` of the job `job` known to the others as `job-node-0-i.job`.

    Args:
        environment: Environment variables of the pod: `GB_KERAS_JOB_NAME`, `GB_KERAS_NUM_NODES`
            (at least 1) and `JOB_COMPLETION_INDEX` (from 0 on).

    Returns:
        What `TF_CONFIG` holds, as it is before it becomes JSON; None where there is one node, or
        the environment is not that of a job of ours.

    Raises:
        ValueError: A variable is missing or not a number, or the index is not below the number of
            nodes.

    Example:
        >>> environment = {"GB_KERAS_JOB_NAME": "lt", "GB_KERAS_NUM_NODES": "2"}
        >>> tf_config({**environment, "JOB_COMPLETION_INDEX": "1"})
        {'cluster': {'worker': ['lt-node-0-0.lt:2222', 'lt-node-0-1.lt:2222']},
        'task': {'type': 'worker', 'index': 1}}
    """
    if NUM_NODES not in environment:
        return None
    num_nodes = _number(environment, NUM_NODES)
    if num_nodes < 1:
        raise ValueError(f"Expected {NUM_NODES} to be at least 1. Received: {num_nodes}.")
    if num_nodes == 1:
        return None
    job, index = environment.get(JOB_NAME), _number(environment, NODE_INDEX)
    if not job:
        raise ValueError(
            f"Expected {JOB_NAME}, the name of the TrainJob, beside {NUM_NODES}={num_nodes}. "
            "Received none. Set it in spec.trainer.env of the TrainJob."
        )
    if not 0 <= index < num_nodes:
        raise ValueError(
            f"Expected {NODE_INDEX} to be below {NUM_NODES}={num_nodes}. Received: {index}. Set "
            f"{NUM_NODES} to what spec.trainer.numNodes of the TrainJob says."
        )
    workers = [f"{job}-node-0-{node}.{job}:{PORT}" for node in range(num_nodes)]
    return {"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}


def set_tf_config(environment: MutableMapping[str, str] = os.environ) -> None:
    """Set `TF_CONFIG` where a job of ours has several nodes; before TensorFlow starts its workers.

    A `TF_CONFIG` that is there already, as in a pod of a TFJob, stays as it is.

    Args:
        environment: Environment variables to read and to write.

    Raises:
        ValueError: As `tf_config`.

    Example:
        >>> environment = {"GB_KERAS_NUM_NODES": "2", "GB_KERAS_JOB_NAME": "lt"}
        >>> environment["JOB_COMPLETION_INDEX"] = "0"
        >>> set_tf_config(environment)
        >>> json.loads(environment["TF_CONFIG"])["task"]
        {'type': 'worker', 'index': 0}
    """
    if "TF_CONFIG" in environment:
        return
    config = tf_config(environment)
    if config is not None:
        environment["TF_CONFIG"] = json.dumps(config)


def _number(environment: Mapping[str, str], name: str) -> int:
    value = environment.get(name, "")
    if not value.isdecimal():
        raise ValueError(
            f"Expected the environment variable {name} to be a whole number. Received: "
            f"{environment.get(name)!r}. Kubeflow Trainer and our manifests set it."
        )
    return int(value)
