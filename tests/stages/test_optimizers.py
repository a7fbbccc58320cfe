import math

import pytest

from gb_keras.stages.optimizers import OPTIMIZERS, learning_rate_schedule, make_optimizer


def test_schedules_by_hand():
    constant = make_optimizer("adam", learning_rate_schedule("constant", 0.3, 100))
    assert float(constant.learning_rate) == pytest.approx(0.3)
    cosine = learning_rate_schedule("cosine", 0.3, 100)
    for step in (0, 25, 50, 100):
        expected = 0.15 * (1 + math.cos(math.pi * step / 100))
        assert float(cosine(step)) == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("schedule", ["constant", "cosine", "step"])
@pytest.mark.parametrize("num_steps", [1, 2, 3])
def test_the_shortest_training_has_a_learning_rate(schedule, num_steps):
    optimizer = make_optimizer("sgd", learning_rate_schedule(schedule, 0.3, num_steps))
    assert 0 < float(optimizer.learning_rate) <= 0.3 + 1e-6


def test_optimizers_are_those_of_their_names():
    names = [type(make_optimizer(name, 0.1)).__name__.lower() for name in OPTIMIZERS]
    assert names == list(OPTIMIZERS)
