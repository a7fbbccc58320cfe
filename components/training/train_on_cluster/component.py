"""The component that trains a model on several nodes."""

from kfp import dsl


@dsl.component(base_image="gb-keras:0.1.0", install_kfp_package=False)
def train_on_cluster(  # noqa: D417  KFP reads the descriptions of outputs from Returns.
    dataset: dsl.Input[dsl.Dataset],
    model: dsl.Output[dsl.Model],
    metrics: dsl.Output[dsl.Metrics],
    logs: dsl.Output[dsl.Artifact],
    claim: str,
    mount: str = "/workspace",
    nodes: int = 2,
    cpu: str = "",
    memory: str = "",
    gpu: int = 0,
    shared_memory: str = "",
    image: str = "gb-keras:0.1.0",
    runtime: str = "gb-keras",
    node_selector: dict = {},  # noqa: B006  KFP copies it.
    tolerations: list = [],  # noqa: B006
    secrets: list = [],  # noqa: B006
    image_pull_secrets: list[str] = [],  # noqa: B006
    backbone: str = "small_cnn",
    weights: str = "",
    freeze_epochs: int = 0,
    loss: str = "gradient_balanced",
    density_exponent: float = -1.0,
    prior_strength: float = -1.0,
    max_weight: float = -1.0,
    momentum: float = -1.0,
    noise_exponent: float = -1.0,
    label_smoothing: float = -1.0,
    epochs: int = 20,
    batch_size: int = 64,
    optimizer: str = "adam",
    learning_rate: float = 1e-3,
    schedule: str = "cosine",
    image_size: int = 0,
    augmentation: list[str] = [],  # noqa: B006
    dtype_policy: str = "float32",
    jit_compile: bool = False,
    seed: int = 0,
    checkpoint_steps: int = 0,
):
    """Train a classifier on several nodes, as a TrainJob of Kubeflow Trainer.

    Args:
        dataset: What prepare_data made.
        claim: PersistentVolumeClaim that all nodes and this task see (ReadWriteMany).
        mount: Folder at which they see it.
        nodes: Nodes that train together, at least 1.
        cpu: CPUs of each node, as 4 or 500m. Empty is what the runtime says.
        memory: Memory of each node, as 16Gi. Empty is what the runtime says.
        gpu: NVIDIA GPUs of each node.
        shared_memory: Size of /dev/shm of each node, as 8Gi. Empty is what the runtime says.
        image: Image of the nodes.
        runtime: TrainingRuntime of the namespace, or cluster:NAME for a ClusterTrainingRuntime.
        node_selector: Labels of the machines that nodes may run on, value by key.
        tolerations: Taints that do not keep nodes away, each as Kubernetes writes it, with key,
            operator, value and effect.
        secrets: Secrets for the nodes, each with name, key and env (a value in an environment
            variable), or with name and mount (a folder with a file for each key).
        image_pull_secrets: Secrets that the image of the nodes is pulled with.
        backbone: small_cnn, resnet32, resnet18, vgg16, inception_v3, resnet50 or any other of
            keras.applications; or a path to a .keras file or an earlier run, on the claim.
        weights: imagenet (downloaded by Keras) or a file of weights without classifier, on the
            claim; empty for random ones.
        freeze_epochs: Epochs at the start in which only the classifier learns.
        loss: cross_entropy, label_smoothing, generalised_cross_entropy, symmetric_cross_entropy,
            focal, class_balanced, square_root_resampling, logit_adjustment, ldam_drw,
            equalization_v2, seesaw, ghm_c or gradient_balanced; for multi-label data
            cross_entropy, label_smoothing, focal, class_balanced, asymmetric,
            distribution_balanced, logit_adjustment, ghm_c or gradient_balanced.
        density_exponent: How far a crowd of equally hard samples is weighted down, at least 0. -1,
            here and for the next five, is the loss's own default. gradient_balanced takes all
            six, logit_adjustment the prior strength, ghm_c the momentum, label_smoothing the label
            smoothing; others go without.
        prior_strength: Scale of the class margin, at least 0.
        max_weight: Cap of the weights by density, at least 1.
        momentum: Momentum of the running histogram, in [0, 1).
        noise_exponent: How far a sample is weighted down for the probability that its label is
            wrong, at least 0.
        label_smoothing: Share of a label that goes to other classes, in [0, 1).
        epochs: Passes over the training split, at least 1.
        batch_size: Images in a step, at least 1, over all nodes and their GPUs.
        optimizer: adam, adamw or sgd (with momentum 0.9).
        learning_rate: Learning rate at the start, above 0. Try 0.1 with sgd.
        schedule: constant, cosine (down to 0) or step (a tenth at 1/2, a hundredth at 3/4).
        image_size: Height and width in pixels that images are resized to. 0 keeps the size of the
            data set's images, or takes the backbone's own size where they differ in size.
        augmentation: What is done to training images: crop, flip, rand_augment, mixup, cutmix.
        dtype_policy: float32, mixed_float16 or mixed_bfloat16 (GPUs are faster mixed).
        jit_compile: Whether to compile steps with XLA.
        seed: Seed of the initial weights and of the order of the data, at least 0.
        checkpoint_steps: Steps after which the state is saved within an epoch, too. 0: after each
            epoch.

    Returns:
        model: Run folder with model.keras, config.json, history.json and history.csv.
        metrics: Losses and metrics of the last epoch, on training and validation data.
        logs: Folder for TensorBoard.
    """
    import json
    from pathlib import Path

    from gb_keras.cluster import train_on_cluster as cluster
    from gb_keras.cluster.job import TrainingJob
    from gb_keras.cluster.pod_settings import PodSettings
    from gb_keras.stages import balance_options

    balance = {
        "density_exponent": density_exponent,
        "prior_strength": prior_strength,
        "max_weight": max_weight,
        "momentum": momentum,
        "noise_exponent": noise_exponent,
        "label_smoothing": label_smoothing,
    }
    options = {
        "backbone": backbone,
        "weights": weights or None,
        "freeze_epochs": freeze_epochs,
        "loss": loss,
        **{name: None if value == -1 else value for name, value in balance.items()},
        "epochs": epochs,
        "batch_size": batch_size,
        "optimizer": optimizer,
        "learning_rate": learning_rate,
        "schedule": schedule,
        "image_size": image_size or None,
        "augmentation": augmentation,
        "dtype_policy": dtype_policy,
        "jit_compile": jit_compile,
        "seed": seed,
    }
    options = balance_options.without_others(options, loss)
    job = TrainingJob(
        cluster.job_name(model.uri),
        image,
        (),
        runtime=runtime,
        num_nodes=nodes,
        cpu=cpu or None,
        memory=memory or None,
        gpu=gpu,
        claim=claim,
        mount=mount,
        pods=PodSettings(
            shared_memory or None, node_selector, tolerations, secrets, image_pull_secrets
        ),
    )
    summary = cluster.train_on_cluster(
        job,
        {**options, "checkpoint_steps": checkpoint_steps or None},
        data_dir=dataset.path,
        data_address=dataset.uri,
        output_dir=model.path,
        log_dir=logs.path,
    )
    model.framework = "keras"
    # A cluster's store of metadata takes no null.
    model.metadata.update({name: value for name, value in options.items() if value is not None})
    model.metadata.update(nodes=nodes, best_epoch=summary["best_epoch"], train_job=summary["job"])
    for name, value in summary["final"].items():
        metrics.log_metric(name, value)
    # An artifact without a file counts as lost when a later run looks for it in the local cache.
    Path(metrics.path).write_text(json.dumps(metrics.metadata), encoding="utf-8")


if __name__ == "__main__":
    import argparse

    from kfp import compiler

    parser = argparse.ArgumentParser(description="Compile the component to a YAML file.")
    parser.add_argument("yaml_file", help="file to write, for example train_on_cluster.yaml")
    compiler.Compiler().compile(train_on_cluster, parser.parse_args().yaml_file)
