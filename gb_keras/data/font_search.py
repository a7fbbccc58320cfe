"""Find the fonts of a list of packages on this machine."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

# By package, which of its files to take: see `find_fonts`.
FontPackages = Mapping[str, str]


def font_directories() -> list[Path]:
    """The directories in which fontconfig looks for fonts where nobody has configured it.

    Example:
        >>> font_directories()[0].as_posix()
        '/usr/share/fonts'
    """
    data_home = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share"
    return [
        Path("/usr/share/fonts"),
        Path("/usr/local/share/fonts"),
        Path(data_home, "fonts"),
        Path.home() / ".fonts",
    ]


def find_fonts(
    splits: Mapping[str, FontPackages], directories: Sequence[Path]
) -> dict[str, dict[str, Path]]:
    """The font files of packages, which must all be there so that the result is always the same.

    Args:
        splits: By split, for each package the files to take: patterns below a font directory,
            separated by spaces. A word that ends in `/` is the folder of the patterns after it;
            one that starts with `!` takes file names out again.
        directories: Where to look; the first that has a match for a pattern counts.

    Returns:
        By split, the files by their path below the font directory, sorted.

    Raises:
        FileNotFoundError: Packages are missing; the message has the command that installs them.

    Example:
        >>> import matplotlib
        >>> here = Path(matplotlib.get_data_path(), "fonts")
        >>> packages = {"fonts-dejavu-core": "ttf/DejaVuSans*.ttf !*Mono*"}
        >>> list(find_fonts({"train": packages}, [here])["train"])[0]
        'ttf/DejaVuSans-Bold.ttf'
        >>> find_fonts({"train": {"fonts-lato": "lato/*.ttf"}}, [here])
        Traceback (most recent call last):
        ...
        FileNotFoundError: Expected the fonts of 1 Debian packages... apt-get install ... fonts-lato
    """
    found: dict[str, dict[str, Path]] = {}
    missing: dict[str, None] = {}
    for split, packages in splits.items():
        files: dict[str, Path] = {}
        for package, patterns in packages.items():
            of_package = _files(patterns.split(), directories)
            if of_package is None:
                missing[package] = None
            else:
                files.update(of_package)
        found[split] = dict(sorted(files.items()))
    if missing:
        names = {package for packages in splits.values() for package in packages}
        raise FileNotFoundError(
            f"Expected the fonts of {len(names)} Debian packages in one of "
            f"{', '.join(map(str, directories))}. Received: directories without those of "
            f"{len(missing)}. Install them:\n{install_command(list(missing))}"
        )
    return found


def install_command(packages: Sequence[str]) -> str:
    """The command that installs packages on Debian and its relatives.

    Args:
        packages: Their names.

    Example:
        >>> install_command(["fonts-lato", "fonts-go"])
        'apt-get install --no-install-recommends fonts-go fonts-lato'
    """
    return " ".join(["apt-get install --no-install-recommends", *sorted(packages)])


def _files(words: Sequence[str], directories: Sequence[Path]) -> dict[str, Path] | None:
    """The files that a package's words stand for; `None` if a pattern stands for nothing."""
    unwanted = [word[1:] for word in words if word.startswith("!")]
    result: dict[str, Path] = {}
    folder = ""
    for word in words:
        if word.endswith("/"):
            folder = word
        elif not word.startswith("!"):
            matches = _matches(folder + word, directories)
            if not matches:
                return None
            result |= matches
    return {
        name: path
        for name, path in result.items()
        if not any(path.match(pattern) for pattern in unwanted)
    }


def _matches(pattern: str, directories: Sequence[Path]) -> dict[str, Path]:
    for directory in directories:
        if paths := sorted(directory.glob(pattern)):
            return {path.relative_to(directory).as_posix(): path for path in paths}
    return {}
