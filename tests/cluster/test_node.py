"""Real processes with the environment of the pods that Kubeflow Trainer makes of our manifests."""

import concurrent.futures
import json
import os
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import gb_keras
from gb_keras.cluster import manifests
from gb_keras.cluster.job import TrainingJob
from gb_keras.cluster.node import set_tf_config, tf_config

ROOT = Path(gb_keras.__file__).parents[1]


def pod_environment(num_nodes, index):
    """Variables of a pod: those of the TrainJob, and the index, which Kubernetes sets."""
    job = TrainingJob("digits", "gb-keras:0.1.0", (), num_nodes=num_nodes)
    given = manifests.train_job(job)["spec"]["trainer"]["env"]
    return {**{each["name"]: each["value"] for each in given}, "JOB_COMPLETION_INDEX": str(index)}


def run(program, environment):
    """Start Python with a pod's environment and what it takes to find Python's packages."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


def outputs(program, environments):
    """Lines that each of several pods prints, all running at once."""
    with concurrent.futures.ThreadPoolExecutor(len(environments)) as threads:
        for result in threads.map(lambda each: run(program, each), environments):
            assert result.returncode == 0, result.stderr
            yield result.stdout.splitlines()


# What the pod's command starts, with an option that ends at once.
START = """
    import json, os, runpy, sys
    sys.argv = ["gb-keras", "--version"]
    try:
        runpy.run_module("gb_keras", run_name="__main__")
    except SystemExit as end:
        assert not end.code, end.code
    print(os.environ.get("TF_CONFIG"))
"""


def test_each_of_three_pods_gets_its_own_tf_config():
    pods = [pod_environment(3, index) for index in range(3)]
    for index, (version, printed) in enumerate(outputs(START, pods)):
        assert version.startswith("gb-keras ")
        assert json.loads(printed) == {
            "cluster": {
                "worker": [
                    "digits-node-0-0.digits:2222",
                    "digits-node-0-1.digits:2222",
                    "digits-node-0-2.digits:2222",
                ]
            },
            "task": {"type": "worker", "index": index},
        }


@pytest.mark.parametrize("environment", [pod_environment(1, 0), {}])
def test_one_node_and_a_machine_of_ones_own_get_none(environment):
    ((_, printed),) = outputs(START, [environment])
    assert printed == "None"


def test_workers_find_each_other_and_sum_over_all():
    addresses = {}
    for index in range(2):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            addresses[f"digits-node-0-{index}.digits:2222"] = f"127.0.0.1:{free.getsockname()[1]}"
    program = (
        textwrap.dedent(START)
        + """
addresses = json.loads(os.environ["ADDRESSES"])  # What the cluster's name service would say.
config = json.loads(os.environ["TF_CONFIG"])
config["cluster"]["worker"] = [addresses[name] for name in config["cluster"]["worker"]]
os.environ["TF_CONFIG"] = json.dumps(config)
import tensorflow as tf
strategy = tf.distribute.MultiWorkerMirroredStrategy()
value = strategy.run(lambda: tf.constant(10.0 ** config["task"]["index"]))
print(strategy.num_replicas_in_sync, float(strategy.reduce("sum", value, axis=None)))
"""
    )
    found = {"ADDRESSES": json.dumps(addresses)}
    for lines in outputs(program, [{**pod_environment(2, index), **found} for index in range(2)]):
        assert lines[-1] == "2 11.0"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"JOB_COMPLETION_INDEX": None}, "JOB_COMPLETION_INDEX to be a whole number"),
        ({"JOB_COMPLETION_INDEX": "-1"}, "whole number. Received: '-1'"),
        ({"JOB_COMPLETION_INDEX": "2"}, "below GB_KERAS_NUM_NODES=2. Received: 2"),
        ({"GB_KERAS_NUM_NODES": "two"}, "GB_KERAS_NUM_NODES to be a whole number"),
        ({"GB_KERAS_NUM_NODES": "0"}, "at least 1"),
        ({"GB_KERAS_JOB_NAME": None}, "Expected GB_KERAS_JOB_NAME"),
    ],
)
def test_a_pod_that_does_not_know_its_place(changes, message):
    environment = {**pod_environment(2, 1), **changes}
    environment = {name: value for name, value in environment.items() if value is not None}
    with pytest.raises(ValueError, match=message):
        tf_config(environment)


def test_the_command_says_so_and_ends_as_one_called_wrongly():
    program = """
        import runpy, sys
        sys.argv = ["gb-keras", "--version"]
        runpy.run_module("gb_keras", run_name="__main__")
    """
    result = run(program, {**pod_environment(2, 0), "JOB_COMPLETION_INDEX": "7"})
    assert result.returncode == 2
    assert "Error: Expected JOB_COMPLETION_INDEX to be below GB_KERAS_NUM_NODES=2" in result.stderr


def test_the_tf_config_of_a_tf_job_stays():
    environment = {**pod_environment(2, 0), "TF_CONFIG": "{}"}
    set_tf_config(environment)
    assert environment["TF_CONFIG"] == "{}"
