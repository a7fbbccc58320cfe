import os
import subprocess
import sys

import apache_beam as beam
import pytest
from apache_beam.options import pipeline_options

from gb_keras.data.workers import BeamWorkers, add_work


def touch(path):
    path.write_text("done")


def test_every_item_is_done(tmp_path):
    workers = BeamWorkers(["direct_running_mode=in_memory"])
    workers(touch, [tmp_path / str(number) for number in range(10)])
    assert len(list(tmp_path.iterdir())) == 10


def test_what_a_worker_raises_is_raised(tmp_path):
    with pytest.raises(Exception, match="No such file"):
        BeamWorkers(["direct_running_mode=in_memory"])(touch, [tmp_path / "no" / "where"])


def test_a_process_for_each_core_is_the_default():
    threads = ["direct_running_mode=multi_threading", "direct_num_workers=0"]
    for options in (["runner=DirectRunner"], ["direct_num_workers=0"], threads):
        workers = BeamWorkers(options)
        values = workers.options.get_all_options()
        assert values["runner"] == "FnApiRunner"
        assert values["direct_num_workers"] == os.cpu_count()
        assert workers.num_shares == 4 * values["direct_num_workers"]


@pytest.mark.parametrize(
    ("given", "view", "expected"),
    [
        (
            ["runner=FlinkRunner", "flink_master=flink:8081", "parallelism=16"],
            pipeline_options.FlinkRunnerOptions,
            {"flink_master": "flink:8081", "parallelism": 16},
        ),
        (
            ["runner=SparkRunner", "spark_master_url=spark://spark:7077", "spark_version=3"],
            pipeline_options.SparkRunnerOptions,
            {"spark_master_url": "spark://spark:7077", "spark_version": "3"},
        ),
        (
            ["runner=DataflowRunner", "project=birds", "region=europe-west4", "no_auth=true"],
            pipeline_options.GoogleCloudOptions,
            {"project": "birds", "region": "europe-west4", "no_auth": True},
        ),
        (
            ["runner=PortableRunner", "environment_type=DOCKER", "environment_config=gb-keras:0.1"],
            pipeline_options.PortableOptions,
            {"environment_type": "DOCKER", "environment_config": "gb-keras:0.1"},
        ),
        (
            ["runner=FlinkRunner", "job_endpoint=jobs:8099", "experiments=a", "experiments=b"],
            pipeline_options.DebugOptions,
            {"experiments": ["a", "b"]},
        ),
    ],
)
def test_options_of_other_runners(given, view, expected):
    workers = BeamWorkers(given)
    values = workers.options.view_as(view).get_all_options()
    assert {name: values[name] for name in expected} == expected
    assert workers.options.view_as(pipeline_options.StandardOptions).runner == given[0][7:]
    assert workers.num_shares == 64


def test_the_pipeline_for_a_cluster_holds_nothing_but_the_items(tmp_path):
    options = BeamWorkers(
        [
            "runner=FlinkRunner",
            "flink_master=flink:8081",
            "environment_type=DOCKER",
            "environment_config=gb-keras:0.1.0",
        ]
    ).options
    pipeline = beam.Pipeline(runner=beam.runners.runner.PipelineRunner(), options=options)
    add_work(pipeline, touch, [tmp_path / str(number) for number in range(64)])
    compiled = pipeline.to_runner_api()
    names = {each.unique_name for each in compiled.components.transforms.values()}
    assert any("touch" in name for name in names)
    assert len(compiled.SerializeToString()) < 100_000


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("runner", "NAME=VALUE. Received: 'runner'"),
        ("direct_num_worker=2", "Did you mean 'direct_num_workers'"),
        ("direct_num_workers=two", "such values as they take"),
        ("direct_num_workers=-1", "to be a number of processes"),
        ("runner=FlinkRunner", "Expected flink_master=HOST:8081"),
        ("runner=SparkRunner", "Expected spark_master_url=spark://HOST:7077"),
        ("streaming=maybe", "streaming=true or streaming=false"),
    ],
)
def test_options_that_are_none(given, message):
    with pytest.raises(ValueError, match=message):
        BeamWorkers([given])


def test_without_beam_the_error_says_what_to_install():
    program = (
        "import sys; sys.modules['apache_beam'] = None; sys.argv[0] = 'gb-keras'\n"
        "from gb_keras.data.workers import BeamWorkers; BeamWorkers(['runner=DirectRunner'])"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "pip install 'gb-keras[beam]'" in run.stderr
