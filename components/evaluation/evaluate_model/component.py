"""The component that measures a model."""

from kfp import dsl


@dsl.component(base_image="gb-keras:0.1.0", install_kfp_package=False)
def evaluate_model(  # noqa: D417  KFP reads the descriptions of outputs from Returns.
    model: dsl.Input[dsl.Model],
    dataset: dsl.Input[dsl.Dataset],
    evaluation: dsl.Output[dsl.Artifact],
    metrics: dsl.Output[dsl.Metrics],
    classification_metrics: dsl.Output[dsl.ClassificationMetrics],
    report: dsl.Output[dsl.HTML],
    split: str = "test",
    batch_size: int = 256,
    many_shot: int = 100,
    few_shot: int = 20,
):
    """Measure a trained model on a split of a data set.

    Args:
        model: What train_model made.
        dataset: What prepare_data made.
        split: Split to measure on: train, validation or test.
        batch_size: Images at a time; changes speed and memory only.
        many_shot: Classes with more training images than this are many-shot.
        few_shot: Classes with fewer training images than this are few-shot.

    Returns:
        evaluation: Folder with metrics.json, per_class.csv and report.html, for compare_models.
        metrics: Accuracy, balanced accuracy, recall by shots, calibration error and others.
        classification_metrics: Confusion matrix (up to 100 classes) and micro-averaged ROC curve.
        report: One page with tables and plots that needs nothing but itself.
    """
    import json
    import shutil
    from pathlib import Path

    from gb_keras.stages.evaluate import evaluate

    result = evaluate(
        model.path,
        dataset.path,
        evaluation.path,
        split=split,
        batch_size=batch_size,
        many_shot=many_shot,
        few_shot=few_shot,
    )
    evaluation.metadata.update(loss=result["run"]["loss"], split=split, warnings=result["warnings"])
    # What could not be measured is absent: KFP compares numbers only.
    for name, value in result["metrics"].items():
        if value is not None:
            metrics.log_metric(name, value)
    names = [each["name"] for each in result["per_class"]]
    # KFP stores the matrix in its data base and draws every cell.
    if result["confusion_matrix"] is not None and len(names) <= 100:
        classification_metrics.log_confusion_matrix(names, result["confusion_matrix"])
    micro = (result["roc"] or {}).get("micro")
    if micro is not None:
        classification_metrics.log_roc_curve(micro["fpr"], micro["tpr"], micro["thresholds"])
    # An artifact without a file counts as lost when a later run looks for it in the local cache.
    for artifact in (metrics, classification_metrics):
        Path(artifact.path).write_text(json.dumps(artifact.metadata), encoding="utf-8")
    shutil.copyfile(Path(evaluation.path) / "report.html", report.path)


if __name__ == "__main__":
    import argparse

    from kfp import compiler

    parser = argparse.ArgumentParser(description="Compile the component to a YAML file.")
    parser.add_argument("yaml_file", help="file to write, for example evaluate_model.yaml")
    compiler.Compiler().compile(evaluate_model, parser.parse_args().yaml_file)
