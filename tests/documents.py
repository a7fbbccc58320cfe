"""Command lines in documents."""

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[1]


def text(path):
    """A document of the repository."""
    return (ROOT / path).read_text()


def commands(path):
    """Command lines in the code of a document, as lists of words, up to a pipe."""
    for block in re.findall(r"```(?:console|bash)\n(.*?)```", text(path), re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            yield shlex.split(line.partition("|")[0], comments=True)
