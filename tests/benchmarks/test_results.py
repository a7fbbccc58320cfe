"""Tables in README and docs/results.md are those of the committed records."""

import pytest

from benchmarks import docs


@pytest.fixture(scope="module")
def tables():
    return docs.tables()


@pytest.mark.parametrize("page", docs.PAGES, ids=lambda path: path.name)
def test_pages_have_the_tables_of_the_records(page, tables):
    text = page.read_text(encoding="utf-8")
    assert "<!-- table: goals -->" in text
    assert docs.composed(text, tables) == text, "Run python -m benchmarks.docs."
