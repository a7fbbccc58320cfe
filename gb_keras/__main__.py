"""The command `gb-keras`, also as `python -m gb_keras`."""

import os
import sys

from gb_keras.cluster.node import set_tf_config


def main() -> None:
    """Run the command line, or say what to install for it."""
    # Before TensorFlow is imported, which reads it then. What goes wrong comes as an exception.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        set_tf_config()
    except ValueError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(2)
    try:
        from gb_keras.cli import app
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("gb_keras"):
            raise
        sys.exit(
            f"gb-keras needs the package {error.name}, which the library alone does not. Install "
            "what the command line needs: pip install 'gb-keras[stages]'"
        )
    app()


if __name__ == "__main__":
    main()
