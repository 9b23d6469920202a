"""The JSON Schema of search spaces: `mnist-ray schema`."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from mnist_ray._command import run_command


@dataclass(frozen=True)
class SchemaOptions:
    """Print the JSON Schema of search spaces. Editors complete and check a file by it whose first
    line is `# yaml-language-server: $schema=PATH`, with the path or URL of what is printed here."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; its exit code."""
    return run_command("schema", SchemaOptions, _run, arguments=arguments)


def _run(_: SchemaOptions) -> int:
    from mnist_ray.space.json_schema import schema_text

    print(schema_text(), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
