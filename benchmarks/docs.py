"""The tables in README and docs/results.md, made from the committed records.

    python -m benchmarks.docs

Each table stands between two comments that name it, which readers of the page do not see. A test
sees that what stands there is what this makes.
"""

import os
import re
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from benchmarks.learning import records, suites
from benchmarks.learning.report import goal_table, markdown
from benchmarks.learning.tables import results, tuned_results
from benchmarks.overhead import tables as costs
from gb_keras.stages.files import read_json, write_text

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", ROOT / "docs/results.md")
LEARNED = ROOT / "benchmarks/learning/results/trials.jsonl"
MEASURED = ROOT / "benchmarks/overhead/results.json"
MEASURED_ON_GPU = ROOT / "benchmarks/overhead/results_gpu.json"
# With a table of their own in docs/results.md.
SUITES = ("mlp", "small_cnn", "glyphs", "glyphs_small_cnn", "multi_label", "ablation")
# Those of README; docs/results.md has all.
CHOSEN_COSTS = (
    "mlp",
    "small_cnn",
    "small_cnn_1000_bins",
    "small_cnn_xla",
    "classes_1000",
    "classes_10000",
    "classes_20000",
)
_TABLE = re.compile(r"(<!-- table: (.+?) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def tables() -> dict[str, str]:
    """All tables by name, Markdown."""
    trials = records.read(LEARNED)
    measured = read_json(MEASURED)
    figures = measured["figures"]
    on_gpu = read_json(MEASURED_ON_GPU)
    made = {
        "goals": "\n".join(goal_table(results(suites.select("full", trials)))),
        "costs": costs.costs(figures),
        "chosen costs": costs.costs({name: figures[name] for name in CHOSEN_COSTS}),
        "cases": costs.legend(figures),
        "rivals": costs.rivals(figures),
        "counts": costs.counts(measured["counts"]),
        "machine": f"{measured['machine']}; {measured['pairs']} pairs.",
        "gpu costs": costs.costs(on_gpu["figures"]),
        "gpu cases": costs.legend(on_gpu["figures"]),
        "gpu machine": f"{on_gpu['machine']}; {on_gpu['pairs']} pairs.",
    }
    for suite in SUITES:
        made[f"suite {suite}"] = markdown(results(suites.select(suite, trials)))
    made["suite tuned"] = markdown(tuned_results(suites.select("tuned", trials)))
    return made


def composed(page: str, tables: dict[str, str]) -> str:
    r"""A page with its tables made anew.

    Args:
        page: The page, Markdown.
        tables: Tables by name.

    Raises:
        KeyError: The page names a table that there is not.

    Example:
        >>> print(composed("<!-- table: a -->\nold\n<!-- end -->", {"a": "new"}))
        <!-- table: a -->
        new
        <!-- end -->
    """
    return _TABLE.sub(lambda found: f"{found[1]}{tables[found[2]].strip()}\n{found[4]}", page)


if __name__ == "__main__":
    made = tables()
    for path in PAGES:
        write_text(path, composed(path.read_text(encoding="utf-8"), made))
