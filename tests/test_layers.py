"""The house as a picture that can be wrong: imports point one way, torch has four rooms, files stay short."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import bench

HOUSE = Path(bench.__file__).parent

# From the ground up: a part may import itself and what stands before it.
LAYERS = (
    *("core", "declarations", "data", "metrics", "problems", "plan", "store"),
    *("predictions", "select", "score", "aggregate", "tables", "execute", "search", "boards", "api", "cli"),
)
# What some parts are allowed to know, where that is less than the order would let them.
ALONE = {
    "metrics": {"core"},
    "store": {"core"},
    "predictions": {"core", "metrics"},
    "select": {"core"},
    "aggregate": {"core", "select"},
    "tables": {"core", "aggregate"},
}
ROOF = ("__init__", "__main__")  # `import bench` and `python -m bench`
ANYTHING = "testing"
HEAVY = frozenset({"torch", "lightning", "transformers", "timm", "peft", "torchmetrics", "torchvision"})
MAY_COMPUTE = ("execute", "testing")  # anywhere in a file
MAY_COMPUTE_INSIDE = ("metrics", "problems")  # in functions, so that declarations and plans do not wait for torch
# The features of a data set (images, class names) are the library's: read where data are prepared, never planned.
SLOW_TO_LOAD = frozenset({"datasets", "huggingface_hub", "sklearn", "scipy", "pandas", "numpy", "pyarrow", "omegaconf"})
MAX_LINES = 400

FILES = sorted(path for path in HOUSE.rglob("*.py") if "__pycache__" not in path.parts)


def part_of(module: str) -> str:
    """`bench.plan.grid` -> `plan`; `bench` -> `__init__`."""
    names = module.split(".")
    return names[1] if len(names) > 1 else "__init__"


def module_of(path: Path) -> str:
    names = ("bench", *path.relative_to(HOUSE).with_suffix("").parts)
    return ".".join(names[:-1] if names[-1] == "__init__" and len(names) > 2 else names)


def imports(path: Path) -> Iterator[tuple[str, int, bool]]:
    """(module, line, whether at the top) of every import that runs; those for type checkers do not."""
    package = module_of(path) if path.name == "__init__.py" else module_of(path).rpartition(".")[0]

    def walk(node: ast.AST, top: bool) -> Iterator[tuple[str, int, bool]]:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for other in node.orelse:
                yield from walk(other, top)
            return
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno, top) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *([base] if base else [])])
            yield (base, node.lineno, top)
            yield from ((f"{base}.{alias.name}", node.lineno, top) for alias in node.names if base.startswith("bench"))
        inside = top and not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        for child in ast.iter_child_nodes(node):
            yield from walk(child, inside)

    yield from walk(ast.parse(path.read_text(encoding="utf-8")), True)


def own(path: Path) -> Iterator[tuple[str, int, bool]]:
    """The harness's own modules that a file imports (`from bench.x import name` names `bench.x`, or a module in it)."""
    for module, line, top in imports(path):
        if module.split(".")[0] == "bench" and is_module(module):
            yield module, line, top


def is_module(module: str) -> bool:
    place = HOUSE.joinpath(*module.split(".")[1:])
    return place.with_suffix(".py").is_file() or (place / "__init__.py").is_file()


def test_every_part_has_a_place() -> None:
    parts = {path.relative_to(HOUSE).parts[0].removesuffix(".py") for path in FILES}
    assert parts == {*LAYERS, *ROOF, ANYTHING}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(HOUSE)))
def test_imports_point_one_way(path: Path) -> None:
    here = part_of(module_of(path))
    if here in (*ROOF, ANYTHING):
        return
    for module, line, _ in own(path):
        there = part_of(module)
        if there == "__init__":
            continue  # `import bench` for its path and version: it imports the rest when asked
        assert there in LAYERS, f"{path} line {line} imports {module}"
        assert LAYERS.index(there) <= LAYERS.index(here), f"{path} line {line}: {here} imports {module}, which is above"


def test_importing_bench_imports_nothing() -> None:
    assert [found for found in own(HOUSE / "__init__.py") if found[2]] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(HOUSE)))
def test_the_parts_that_can_be_read_alone_know_no_others(path: Path) -> None:
    here = part_of(module_of(path))
    known = {part_of(module) for module, _, _ in own(path)} - {here, "__init__"}
    assert known <= ALONE.get(here, known)


def test_no_cycles_between_files() -> None:
    """Also inside a part, for imports that run when a module is loaded."""
    graph = {
        module_of(path): {module for module, _, top in own(path) if top and module != module_of(path)} for path in FILES
    }
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " -> ".join([*trail[trail.index(module) :], module])
        if module in done:
            return
        for other in sorted(graph.get(module, ())):
            # `from package import module` names the package too; a package that re-exports a module is no cycle.
            if not module.startswith(f"{other}."):
                visit(other, (*trail, module))
        done.add(module)

    for module in sorted(graph):
        visit(module, ())


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(HOUSE)))
def test_torch_has_four_rooms(path: Path) -> None:
    here = part_of(module_of(path))
    if here in MAY_COMPUTE:
        return
    for module, line, top in imports(path):
        if module.split(".")[0] in HEAVY:
            assert here in MAY_COMPUTE_INSIDE, f"{path} line {line} imports {module}"
            assert not top, f"{path} line {line} imports {module} before it is needed"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(HOUSE)))
def test_what_is_slow_to_load_is_imported_where_it_is_used(path: Path) -> None:
    if part_of(module_of(path)) in MAY_COMPUTE:
        return
    slow = [
        f"line {line}: {module}" for module, line, top in imports(path) if top and module.split(".")[0] in SLOW_TO_LOAD
    ]
    assert slow == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(HOUSE)))
def test_no_file_is_long(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES
