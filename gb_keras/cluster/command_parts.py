"""What the commands of a cluster share: options, errors in one line, the cluster itself."""

import contextlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer.core import TyperCommand

from gb_keras import cli_errors
from gb_keras.cluster.errors import ClusterError

if TYPE_CHECKING:
    from gb_keras.cluster.client import Cluster
    from gb_keras.cluster.manifests import Manifest

CLUSTER = "Cluster"
RESOURCES = "Resources"

TrainOptions = Annotated[
    list[str],
    typer.Argument(
        metavar="-- TRAIN_OPTIONS",
        help="Options of `gb-keras train`, after a `--`. Paths are those in the cluster.",
    ),
]
Image = Annotated[
    str, typer.Option(help="Container image with gb_keras, as its Dockerfile builds it.")
]
Runtime = Annotated[
    str,
    typer.Option(
        help="TrainingRuntime of the namespace, or cluster:NAME for a ClusterTrainingRuntime.",
        rich_help_panel=CLUSTER,
    ),
]
Nodes = Annotated[
    int, typer.Option(help="Nodes that train together.", min=1, rich_help_panel=RESOURCES)
]
Gpu = Annotated[
    int, typer.Option(help="NVIDIA GPUs of each node.", min=0, rich_help_panel=RESOURCES)
]
Mount = Annotated[str, typer.Option(help="Folder at which all nodes see the claim.")]
JobName = Annotated[str, typer.Argument(metavar="NAME", help="Name of the job.")]
Cpu = Annotated[
    str | None,
    typer.Option(
        help="CPUs, such as 4 or 500m. Default: what the runtime says.",
        show_default=False,
        rich_help_panel=RESOURCES,
    ),
]
Memory = Annotated[
    str | None,
    typer.Option(
        help="Memory, such as 16Gi. Default: what the runtime says.",
        show_default=False,
        rich_help_panel=RESOURCES,
    ),
]
Pods = Annotated[
    Path | None,
    typer.Option(
        help="YAML file of settings of the nodes' pods: node_selector, tolerations, secrets, "
        "image_pull_secrets, shared_memory.",
        show_default=False,
        rich_help_panel=RESOURCES,
    ),
]
Namespace = Annotated[
    str | None,
    typer.Option(
        help="Namespace. Default: that of the context.",
        show_default=False,
        rich_help_panel=CLUSTER,
    ),
]
KubeContext = Annotated[
    str | None,
    typer.Option(
        "--context",
        help="Context of the kubeconfig. Default: the current one.",
        show_default=False,
        rich_help_panel=CLUSTER,
    ),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Print the manifests as YAML, and touch no cluster.")
]
Timeout = Annotated[
    float | None,
    typer.Option(
        help="Seconds to wait for the end of the job, which goes on after them. Default: no end.",
        min=1,
        show_default=False,
    ),
]


def command_of_the_root(context: typer.Context, name: str) -> TyperCommand:
    """The command `gb-keras NAME`, of a context of any command below `gb-keras`."""
    root = context.find_root()
    return root.command.get_command(root, name)  # type: ignore[attr-defined, no-any-return]


def open_cluster(namespace: str | None, context_name: str | None) -> "Cluster":
    """The cluster of the user's kubeconfig."""
    from gb_keras.cluster.client import Cluster

    return Cluster(namespace, context_name)


def print_yaml(documents: "list[Manifest]") -> None:
    """Print manifests as `kubectl apply` reads them."""
    import yaml

    class Dumper(yaml.SafeDumper):
        """Quotes texts such as 1e-4, which are numbers in YAML 1.2, and so to kubectl."""

    number = re.compile(r"[-+]?(\.\d+|\d+(\.\d*)?)([eE][-+]?\d+)?$")
    Dumper.add_implicit_resolver("tag:yaml.org,2002:float", number, list("-+.0123456789"))
    typer.echo(yaml.dump_all(documents, Dumper=Dumper, sort_keys=False), nl=False)


def notice(text: str) -> None:
    """What is not a result goes to the error stream, so that results can be piped."""
    typer.secho(text, fg="cyan", err=True)


def readable_errors(context: typer.Context) -> contextlib.AbstractContextManager[None]:
    """Errors as one line and an exit code: 2 for what the user can mend in the command, else 1."""
    return cli_errors.readable_errors(context, extra="stages,cluster", expected=(ClusterError,))
