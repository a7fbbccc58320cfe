"""Compiled pipelines, read as the protocol buffers that a cluster reads."""

import json

import kfp.compiler
import yaml
from google.protobuf import json_format
from kfp.kubernetes.kubernetes_executor_config_pb2 import KubernetesExecutorConfig
from kfp.pipeline_spec.pipeline_spec_pb2 import (
    PipelineDeploymentConfig,
    PipelineSpec,
    PlatformSpec,
)


def load(path):
    """The pipeline in a YAML file; fields that KFP does not know are errors."""
    document, *platform = yaml.safe_load_all(path.read_text())
    assert not platform
    return json_format.ParseDict(document, PipelineSpec())


def load_with_platform(path):
    """The pipeline in a YAML file, and what its executors get of Kubernetes, by name."""
    document, platform = yaml.safe_load_all(path.read_text())
    return json_format.ParseDict(document, PipelineSpec()), kubernetes(platform)


def kubernetes(platform):
    """What the executors of a pipeline get of Kubernetes, by name."""
    message = json_format.ParseDict(platform, PlatformSpec())
    assert list(message.platforms) == ["kubernetes"]
    return {
        name: json_format.ParseDict(json_format.MessageToDict(each), KubernetesExecutorConfig())
        for name, each in message.platforms["kubernetes"].deployment_spec.executors.items()
    }


def compile_spec(component, folder):
    path = folder / "compiled.yaml"
    kfp.compiler.Compiler().compile(component, str(path))
    return load(path)


def executors(spec):
    """Container of each executor, by name."""
    config = json_format.ParseDict(
        json_format.MessageToDict(spec.deployment_spec), PipelineDeploymentConfig()
    )
    return {name: each.container for name, each in config.executors.items()}


def value(message):
    """A protocol buffer value as Python's own."""
    return json.loads(json_format.MessageToJson(message))


def tasks(spec):
    """Every task of a pipeline, also inside of loops, by name."""
    dags = [spec.root.dag, *(each.dag for each in spec.components.values())]
    return {name: task for dag in dags for name, task in dag.tasks.items()}
