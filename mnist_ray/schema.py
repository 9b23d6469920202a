"""The JSON Schema of search spaces: `mnist-ray schema`."""

import argparse
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; gives its exit code."""
    _parser().parse_args(arguments)
    from mnist_ray.space.json_schema import schema_text

    print(schema_text(), end="")
    return 0


def _parser() -> argparse.ArgumentParser:
    return argparse.ArgumentParser(
        prog="mnist-ray schema",
        description="Print the JSON Schema of search spaces. Editors complete and check a file by "
        "it whose first line is `# yaml-language-server: $schema=PATH`, with the path or URL of "
        "what is printed here.",
    )


if __name__ == "__main__":
    sys.exit(main())
