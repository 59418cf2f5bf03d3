"""The house style of everything public, read from the syntax tree.

A required PRNG `key` comes first, parameters with defaults and booleans are keyword-only, and every
public module, class, function and method has a docstring. A name is public unless it, its class or
its module begins with an underscore. The signature of `__call__` is checked too; what a call does,
the docstring of its class may say. Fields of dataclasses and named tuples are no parameters here.
"""

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest

import ddib_jax

PACKAGE = Path(ddib_jax.__file__).parent
FILES = sorted(
    path
    for path in PACKAGE.rglob("*.py")
    if not any(part.startswith("_") for part in path.relative_to(PACKAGE).with_suffix("").parts)
    or path.name == "__init__.py"
)

POSITIONAL_DEFAULTS = {
    "apply.cond": "the Network protocol: a network is called with or without a condition",
    "__call__.cond": "as `apply.cond`: linen's `apply` hands its arguments on to `__call__`",
}
"""Function and parameter whose default may be given by position -> the reason."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


def is_public(name: str) -> bool:
    return name == "__call__" or not name.startswith("_")


def decorators(node: Function) -> set[str]:
    """The last names of a function's decorators: `property`, `cached_property`, `setter` ..."""
    names = (getattr(d, "func", d) for d in node.decorator_list)
    return {getattr(name, "attr", getattr(name, "id", "")) for name in names}


def public(parent: ast.Module | ast.ClassDef, prefix: str = "") -> Iterator[tuple[str, ast.AST]]:
    """The qualified names and the nodes of public classes, functions and methods."""
    for node in parent.body:
        if isinstance(node, ast.ClassDef | Function) and is_public(node.name):
            yield f"{prefix}{node.name}", node
        if isinstance(node, ast.ClassDef) and is_public(node.name):
            yield from public(node, f"{prefix}{node.name}.")


def faults_of_signature(name: str, node: Function) -> list[str]:
    positional = [*node.args.posonlyargs, *node.args.args]
    if "." in name and "staticmethod" not in decorators(node):
        positional = positional[1:]  # self or cls
    optional = positional[len(positional) - len(node.args.defaults) :]
    required = positional[: len(positional) - len(optional)]
    is_bool = lambda arg: arg.annotation is not None and ast.unparse(arg.annotation) == "bool"

    faults = [
        f"{name}: give '{arg.arg}', which has a default, by keyword only"
        for arg in optional
        if f"{node.name}.{arg.arg}" not in POSITIONAL_DEFAULTS
    ]
    faults += [
        f"{name}: give the boolean '{arg.arg}' by keyword only" for arg in required if is_bool(arg)
    ]
    if any(arg.arg == "key" for arg in required[1:]):
        faults.append(f"{name}: 'key' comes first")
    return faults


def faults_of_docstring(name: str, node: ast.AST) -> list[str]:
    if isinstance(node, Function) and "setter" in decorators(node):
        return []  # documented by its getter
    if isinstance(node, Function) and node.name == "__call__":
        return []  # documented by its class
    text = ast.get_docstring(node) or ""
    return [] if text.strip() else [f"{name}: has no docstring"]


def faults(source: str) -> list[str]:
    tree = ast.parse(source)
    result = faults_of_docstring("module", tree)
    for name, node in public(tree):
        result += faults_of_docstring(name, node)
        if isinstance(node, Function):
            result += faults_of_signature(name, node)
    return result


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_signatures_and_docstrings(path):
    assert not faults(path.read_text())


@pytest.mark.parametrize("name", ddib_jax.__all__)
def test_public_names_are_documented(name):
    """By a docstring of their own, not by the signature that `dataclass` writes in its place."""
    value = getattr(ddib_jax, name)
    text = inspect.getdoc(value) or ""
    assert text, f"{name} has no docstring"
    assert not text.startswith(f"{name}("), f"{name} has the docstring of `dataclass` alone"


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("def f(x, key): 'f'", "f: 'key' comes first"),
        ("class A:\n 'A'\n def f(self, x, key): 'f'", "A.f: 'key' comes first"),
        ("def f(x, steps=3): 'f'", "f: give 'steps', which has a default, by keyword only"),
        ("def f(x, key=None): 'f'", "f: give 'key', which has a default, by keyword only"),
        ("def f(x, rising: bool): 'f'", "f: give the boolean 'rising' by keyword only"),
        ("def f(x): return x", "f: has no docstring"),
        ("class A:\n def __call__(self): 'f'", "A: has no docstring"),
        ("class A:\n 'A'\n def f(self, x): return x", "A.f: has no docstring"),
        ("class A:\n 'A'\n @staticmethod\n def f(x, key): 'f'", "A.f: 'key' comes first"),
    ],
)
def test_a_broken_signature_is_found(source, fault):
    assert fault in faults(f"'module'\n{source}")
    assert faults(source)[0] == "module: has no docstring"


@pytest.mark.parametrize(
    "source",
    [
        "def f(key, x, *, steps=3, rising: bool): 'f'",
        "class A:\n 'A'\n def f(self, key, x): 'f'\n @classmethod\n def g(cls, key): 'g'",
        "def _f(x, key, steps=3): pass",
        "class _A:\n def f(self, x, key, steps=3): pass",
        "class A:\n 'A'\n def __post_init__(self): pass",
        "class A:\n 'A'\n def __call__(self, x, time, cond=None, *, train: bool = False): 'f'",
    ],
)
def test_a_good_signature_passes(source):
    assert not faults(f"'module'\n{source}")
