"""Tables in README and docs/results.md are those of the committed records."""

from pathlib import Path

import pytest

from benchmarks.learning import records, suites, tables
from benchmarks.learning.report import goal_table, markdown

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def found():
    trials = records.read([ROOT / "benchmarks/learning/results/trials.jsonl"])
    return tables.results(suites.select("mlp", trials))


def test_docs_have_all_tables(found):
    assert markdown(found) in (ROOT / "docs/results.md").read_text(encoding="utf-8")


def test_readme_has_the_goals(found):
    assert "\n".join(goal_table(found)) in (ROOT / "README.md").read_text(encoding="utf-8")
