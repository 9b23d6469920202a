"""The measures that keep the package easy to read: see docs/architecture.md."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import grimp

import mnist_ray

PACKAGE = Path(mnist_ray.__file__).parent
FILES = sorted(file for kind in ("py", "jinja", "css") for file in PACKAGE.rglob(f"*.{kind}"))


def lengths_of_functions() -> Iterator[tuple[int, str]]:
    for file in FILES:
        if file.suffix != ".py":
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno is not None
                yield node.end_lineno - node.lineno + 1, f"{file.name}: {node.name}"


def test_no_chain_of_imports_is_longer_than_14_modules() -> None:
    graph = grimp.build_graph("mnist_ray", cache_dir=None)

    @cache
    def floor(module: str) -> int:
        below = graph.find_modules_directly_imported_by(module) - {"mnist_ray"}
        return 1 + max(map(floor, below), default=0)

    assert max(map(floor, graph.modules)) <= 14


def test_files_and_functions_are_short() -> None:
    lines = {file.name: len(file.read_text(encoding="utf-8").splitlines()) for file in FILES}
    assert {name: count for name, count in lines.items() if count > 400} == {}
    assert [name for length, name in lengths_of_functions() if length > 40] == []
