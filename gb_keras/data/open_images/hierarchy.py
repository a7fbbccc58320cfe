"""The class hierarchy of Open Images: what follows for other classes from what was seen."""

import json
from typing import Any

from gb_keras.data.locations import Location


class Hierarchy:
    """Which classes are kinds of which others.

    Parts, as the wheel of a car, say nothing of each other and are left out.

    Args:
        path: A JSON file of nodes with `LabelName` and `Subcategory`, as
            `bbox_labels_600_hierarchy.json` of the download page.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It holds something else.

    Example:
        >>> import pathlib, tempfile
        >>> path = pathlib.Path(tempfile.mkdtemp(), "hierarchy.json")
        >>> kinds = [{"LabelName": "cat"}, {"LabelName": "dog"}]
        >>> _ = path.write_text(json.dumps({"LabelName": "animal", "Subcategory": kinds}))
        >>> Hierarchy(path).completed({"cat": True})
        {'cat': True, 'animal': True}
        >>> Hierarchy(path).completed({"animal": False})
        {'animal': False, 'cat': False, 'dog': False}
    """

    def __init__(self, path: Location) -> None:
        if not path.is_file():
            raise FileNotFoundError(
                f"Expected the file of a class hierarchy. Received: {str(path)!r}, which is not "
                "there. Name it as it is called in the folder: ...?hierarchy=FILE."
            )
        self._parents: dict[str, set[str]] = {}
        self._children: dict[str, set[str]] = {}
        try:
            self._add(json.loads(path.read_text(encoding="utf-8-sig")))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ValueError(
                "Expected a JSON object with 'LabelName' and a list 'Subcategory' of such objects "
                f"in {str(path)!r}. Received something else ({error})."
            ) from error

    def _add(self, node: dict[str, Any]) -> None:
        for child in node.get("Subcategory", ()):
            self._parents.setdefault(child["LabelName"], set()).add(node["LabelName"])
            self._children.setdefault(node["LabelName"], set()).add(child["LabelName"])
            self._add(child)

    def completed(self, known: dict[str, bool]) -> dict[str, bool]:
        """What is known of an image, and what follows from it.

        An image that shows a class shows all that this is a kind of; one that does not, shows
        none of its kinds. What someone has said himself always stays. Where two answers lead to
        opposite ones, nothing follows.

        Args:
            known: Whether the image shows a class, by its machine-readable name.
        """
        follows: dict[str, set[bool]] = {}
        for mid, shown in known.items():
            for other in self._reached(mid, self._parents if shown else self._children):
                follows.setdefault(other, set()).add(shown)
        return known | {
            mid: answers.pop()
            for mid, answers in sorted(follows.items())
            if mid not in known and len(answers) == 1
        }

    @staticmethod
    def _reached(mid: str, steps: dict[str, set[str]]) -> set[str]:
        """All that steps lead to, however many."""
        reached: set[str] = set()
        ahead = {mid}
        while ahead:
            ahead = set().union(*(steps.get(each, set()) for each in ahead)) - reached
            reached |= ahead
        return reached
