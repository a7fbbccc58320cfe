"""Options of balancing: who takes which, and where they end up."""

import numpy as np
import pytest

from gb_keras.stages import balance_options, files, methods, multi_label_methods, train_config
from gb_keras.stages.train import train

VALUES = {
    "density_exponent": 0.25,
    "prior_strength": 0.75,
    "max_weight": 3.0,
    "momentum": 0.5,
    "noise_exponent": 1.5,
    "label_smoothing": 0.05,
}
COUNTS = [90, 10]


def made(loss, kind, **balance):
    if kind == "several labels":
        return multi_label_methods.method(loss, np.array([[10, 90], COUNTS]), **balance).loss
    return methods.method(loss, COUNTS, 10, kind == "shares of classes", **balance).loss


@pytest.mark.parametrize("kind", ["one label", "shares of classes", "several labels"])
@pytest.mark.parametrize(
    "loss", ["gradient_balanced", "ghm_c", "logit_adjustment", "label_smoothing"]
)
def test_a_method_takes_its_options_and_has_its_own_defaults(loss, kind):
    names = balance_options.defaults(loss)
    wanted = {name: VALUES[name] for name in names}
    assert wanted
    for balance, expected in ((wanted, wanted), ({}, names)):
        config = made(loss, kind, **balance).get_config()
        # The same under the name that it has in the literature.
        literature = {"prior_strength": "tau", "label_smoothing": "smoothing"}
        found = {name: config.get(name, config.get(literature.get(name))) for name in names}
        assert found == expected


@pytest.mark.parametrize("module", [methods, multi_label_methods], ids=["one", "several"])
def test_all_other_options_are_refused(module):
    for loss in module.names():
        for name in set(VALUES) - set(balance_options.defaults(loss)):
            balance = {name: VALUES[name]}
            with pytest.raises(ValueError, match=rf"a loss that takes {name}, .*: {loss}\. "):
                balance_options.check(loss, balance)
            with pytest.raises(TypeError, match=name):
                made(loss, "one label" if module is methods else "several labels", **balance)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("density_exponent", -1),
        ("prior_strength", "1"),
        ("max_weight", 0.5),
        ("momentum", 1.0),
        ("noise_exponent", -0.5),
        ("label_smoothing", 1.0),
    ],
)
def test_values_out_of_range(tmp_path, name, value):
    with pytest.raises(ValueError, match=f"`{name}`"):
        train(tmp_path / "no-data", tmp_path / "run", **{name: value})


def test_an_unfinished_run_from_before_there_were_options_goes_on(tmp_path):
    config = {"loss": "gradient_balanced", "epochs": 3}
    files.write_json(tmp_path / "config.json", config)
    now = config | dict.fromkeys(balance_options.NAMES)
    train_config.check_run(tmp_path, now, resume=True)
    with pytest.raises(ValueError, match=r"momentum=0\.9, was None"):
        train_config.check_run(tmp_path, now | {"momentum": 0.9}, resume=True)
