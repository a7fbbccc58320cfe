"""The pipeline: prepare data, train with each loss, evaluate each model, compare them."""

from typing import NamedTuple

from kfp import dsl
from kfp.dsl.graph_component import GraphComponent

from components.data_processing.prepare_data import prepare_data
from components.evaluation.compare_models import compare_models
from components.evaluation.evaluate_model import evaluate_model
from components.training.train_model import train_model
from components.training.train_on_cluster import train_on_cluster

from .settings import Settings, apply

_IMAGE = train_on_cluster.component_spec.implementation.container.image


class Outputs(NamedTuple):
    """What the pipeline leaves: all of the comparison, its table alone, and its report alone."""

    comparison: dsl.Artifact
    table: dsl.Markdown
    report: dsl.HTML


def make_pipeline(settings: Settings) -> GraphComponent:
    """The pipeline with tasks that run as `settings` say."""

    @dsl.pipeline(name="train-and-evaluate", pipeline_root=settings.pipeline_root)
    def train_and_evaluate(
        dataset: str = "digits",
        long_tail_factor: float = 1.0,
        label_noise: float = 0.0,
        validation_fraction: float = 0.1,
        test_fraction: float = 0.2,
        image_size: int = 0,
        on_error: str = "raise",
        data_version: str = "",
        losses: list[str] = ["cross_entropy", "gradient_balanced"],  # noqa: B006  KFP copies it.
        density_exponent: float = -1.0,
        prior_strength: float = -1.0,
        max_weight: float = -1.0,
        momentum: float = -1.0,
        noise_exponent: float = -1.0,
        label_smoothing: float = -1.0,
        baseline: str = "",
        backbone: str = "small_cnn",
        weights: str = "",
        freeze_epochs: int = 0,
        epochs: int = 20,
        batch_size: int = 64,
        optimizer: str = "adam",
        learning_rate: float = 1e-3,
        schedule: str = "cosine",
        augmentation: list[str] = [],  # noqa: B006  KFP copies it.
        dtype_policy: str = "float32",
        jit_compile: bool = False,
        split: str = "test",
        many_shot: int = 100,
        few_shot: int = 20,
        seed: int = 0,
    ) -> Outputs:
        """Train with several losses on one data set, all else equal, and compare the models.

        Args:
            dataset: digits, mnist5k, glyphs, glyphs-cjk, tfds:NAME[/CONFIG], folder:PATH (with
                a folder for each class), csv:PATH[?OPTIONS], parquet:PATH[?OPTIONS],
                huggingface-dir:PATH, tfds-dir:PATH, open-images:boxes:PATH[?OPTIONS] or
                open-images:labels:PATH[?OPTIONS].
            long_tail_factor: Largest over smallest class of the training split, at least 1; 1
                leaves it as it is.
            label_noise: Share of training labels changed to another class, in [0, 1).
            validation_fraction: Share of the source's training images for validation, where it
                has no such split, in (0, 1).
            test_fraction: Share of the source's training images for testing, where it has no such
                split, in (0, 1).
            image_size: Side in pixels; the shorter side is scaled to it and the centre cut out. 0
                keeps the size of each image.
            on_error: What to do about images that cannot be used: raise an error that names them
                all, or skip them.
            data_version: Any text. Caching takes what was prepared from the same inputs; give
                another text when what dataset names has other content.
            losses: What to train with, one model each: cross_entropy, label_smoothing,
                generalised_cross_entropy, symmetric_cross_entropy, focal, class_balanced,
                square_root_resampling, logit_adjustment, ldam_drw, equalization_v2, seesaw, ghm_c
                or gradient_balanced; for multi-label data cross_entropy, label_smoothing, focal,
                class_balanced, asymmetric, distribution_balanced, logit_adjustment, ghm_c or
                gradient_balanced.
            density_exponent: How far a crowd of equally hard samples is weighted down, at least 0.
                -1, here and for the next five, is the loss's own default. gradient_balanced takes
                all six, logit_adjustment the prior strength, ghm_c the momentum, label_smoothing
                the label smoothing; others go without.
            prior_strength: Scale of the class margin, at least 0.
            max_weight: Cap of the weights by density, at least 1.
            momentum: Momentum of the running histogram, in [0, 1).
            noise_exponent: How far a sample is weighted down for the probability that its label is
                wrong, at least 0.
            label_smoothing: Share of a label that goes to other classes, in [0, 1).
            baseline: The loss to compare with. Empty is cross_entropy, else the first.
            backbone: small_cnn, resnet32, resnet18, vgg16, inception_v3, resnet50 or any other of
                keras.applications; hub:PRESET of keras-hub, where the image has it; or a path to a
                .keras file or an earlier run, mounted in the pod.
            weights: imagenet (downloaded by Keras) or a mounted file of weights without
                classifier; preset for those of a hub: backbone; empty for random ones.
            freeze_epochs: Epochs at the start in which only the classifier learns.
            epochs: Passes over the training split, at least 1.
            batch_size: Images in a step of training, and at a time in evaluation, at least 1.
            optimizer: adam, adamw or sgd (with momentum 0.9).
            learning_rate: Learning rate at the start, above 0. Try 0.1 with sgd.
            schedule: constant, cosine (down to 0) or step (a tenth at 1/2, a hundredth at 3/4).
            augmentation: What is done to training images: crop, flip, rand_augment, mixup, cutmix.
            dtype_policy: float32, mixed_float16 or mixed_bfloat16 (GPUs are faster mixed).
            jit_compile: Whether to compile steps with XLA.
            split: Split to measure on: train, validation or test.
            many_shot: Classes with more training images than this are many-shot.
            few_shot: Classes with fewer training images than this are few-shot.
            seed: Seed of all draws: splits, noise, initial weights, order of the data.

        Returns:
            comparison: Folder with comparison.json, .md, .html and .png.
            table: One row for each model, the best of each column in bold.
            report: The table and a picture as one page that needs nothing but itself.
        """
        prepared = prepare_data(
            data=dataset,
            long_tail_factor=long_tail_factor,
            label_noise=label_noise,
            validation_fraction=validation_fraction,
            test_fraction=test_fraction,
            image_size=image_size,
            seed=seed,
            on_error=on_error,
            data_version=data_version,
        )
        with dsl.ParallelFor(losses, name="each-loss", parallelism=settings.parallelism) as loss:
            options = {
                "dataset": prepared.outputs["dataset"],
                "backbone": backbone,
                "weights": weights,
                "freeze_epochs": freeze_epochs,
                "loss": loss,
                "density_exponent": density_exponent,
                "prior_strength": prior_strength,
                "max_weight": max_weight,
                "momentum": momentum,
                "noise_exponent": noise_exponent,
                "label_smoothing": label_smoothing,
                "epochs": epochs,
                "batch_size": batch_size,
                "optimizer": optimizer,
                "learning_rate": learning_rate,
                "schedule": schedule,
                "augmentation": augmentation,
                "dtype_policy": dtype_policy,
                "jit_compile": jit_compile,
                "seed": seed,
            }
            if settings.nodes == 1:
                trained = train_model(**options)
            else:
                image = settings.image or _IMAGE
                trained = train_on_cluster(**options, image=image, **settings.of_nodes)
            evaluated = evaluate_model(
                model=trained.outputs["model"],
                dataset=prepared.outputs["dataset"],
                split=split,
                batch_size=batch_size,
                many_shot=many_shot,
                few_shot=few_shot,
            )
        compared = compare_models(
            evaluations=dsl.Collected(evaluated.outputs["evaluation"]), baseline=baseline
        )
        apply(settings, prepared, reads=True)
        apply(settings, trained, reads=True, trains=settings.nodes == 1)
        for task in (evaluated, compared):
            apply(settings, task)
        return Outputs(*(compared.outputs[name] for name in Outputs._fields))

    return train_and_evaluate


train_and_evaluate = make_pipeline(Settings())
