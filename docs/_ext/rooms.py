"""The API reference: a generated page for each room of `ddib_jax`, from docstrings in plain text.

A page has a table of the room's public names, then each of its modules with everything public that
is defined there. Nothing is listed by hand, so that a new room or name is in the reference at once.
"""

import importlib
import inspect
import pkgutil
import re
from pathlib import Path
from types import ModuleType

from sphinx.ext.napoleon import Config, GoogleDocstring
from sphinx.pycode import ModuleAnalyzer

PACKAGE = "ddib_jax"
FOLDER = "generated/api"
_GOOGLE = Config(napoleon_numpy_docstring=False, napoleon_use_ivar=True)
_SECTIONS = re.compile(
    r"(Args|Arguments|Returns|Raises|Yields|Examples?|Attributes|Notes?|References):$"
)


def modules_of(room: str) -> list[str]:
    """The room's module, and its public submodules, by their full names."""
    module = importlib.import_module(f"{PACKAGE}.{room}")
    parts = pkgutil.iter_modules(module.__path__) if hasattr(module, "__path__") else ()
    inner = [f"{module.__name__}.{part.name}" for part in parts if not part.name.startswith("_")]
    return [module.__name__, *inner]


def rooms() -> list[str]:
    """The names of all rooms, in the order of the alphabet."""
    package = importlib.import_module(PACKAGE)
    return sorted(
        part.name for part in pkgutil.iter_modules(package.__path__) if part.name[0] != "_"
    )


def public(module: ModuleType) -> list[str]:
    """The public names that a module defines itself; of a package, those of `__all__`."""
    listed = getattr(module, "__all__", None)
    if listed is not None:
        return sorted(listed, key=str.lower)
    own = [
        name
        for name, value in vars(module).items()
        if getattr(value, "__module__", None) == module.__name__
    ]
    return [name for name in own if not name.startswith("_")]


def home(module: ModuleType, name: str) -> str:
    """The full name under which the reference describes a name of a module."""
    value = getattr(module, name)
    own = inspect.isclass(value) or inspect.isfunction(value)
    where = (
        value.__module__
        if own and value.__module__.startswith(PACKAGE)
        else _constant(module, name)
    )
    return f"{where}.{getattr(value, '__name__', name) if own else name}"


def _constant(module: ModuleType, name: str) -> str:
    """The submodule that assigns a constant which a package hands on, or the package."""
    for part in pkgutil.iter_modules(getattr(module, "__path__", ())):
        inner = importlib.import_module(f"{module.__name__}.{part.name}")
        if re.search(rf"^{name}\b.*=", Path(inner.__file__).read_text("utf-8"), re.MULTILINE):
            return inner.__name__
    return module.__name__


def summary(module: ModuleType, name: str) -> str:
    """The first paragraph of what is said of a name: its docstring, or the one below a constant."""
    value = getattr(module, name)
    if inspect.isclass(value) or inspect.isfunction(value):
        words = inspect.getdoc(value) or ""
    else:
        described = ModuleAnalyzer.for_module(
            home(module, name).rpartition(".")[0]
        ).find_attr_docs()
        words = "\n".join(described.get(("", name), []))
    return " ".join(plain(words.strip().split("\n\n")[0].splitlines()))


def table(module: ModuleType) -> list[str]:
    """A list table of a module's public names, each a link to where it is described."""
    rows = [".. list-table::", "   :widths: 30 70", ""] if public(module) else []
    for name in public(module):
        rows += [
            f"   * - :py:obj:`{name} <{home(module, name)}>`",
            f"     - {summary(module, name)}",
        ]
    return [*rows, ""]


def page(room: str) -> str:
    """The reStructuredText of a room's page."""
    title = f"``{PACKAGE}.{room}``"
    names = modules_of(room)
    lines = [title, "=" * len(title), ""]
    module = importlib.import_module(names[0])
    if len(names) > 1:
        lines += [*plain((inspect.getdoc(module) or "").splitlines()), "", *table(module)]
        own = [
            name
            for name in public(module)
            if home(module, name).rpartition(".")[0] == module.__name__
        ]
        lines += [f".. py:module:: {module.__name__}", ""]
        for name in own:
            kind = "class" if inspect.isclass(value := getattr(module, name)) else "function"
            kind = kind if kind == "class" or inspect.isfunction(value) else "data"
            lines += [
                f".. auto{kind}:: {module.__name__}.{name}",
                *["   :no-value:"] * (kind == "data"),
                "",
            ]
        names = names[1:]
    for name in names:
        if len(names) > 1:
            lines += [f"``{name}``", "-" * (len(name) + 4), ""]
        lines += [f".. automodule:: {name}", "   :members:", "   :show-inheritance:", ""]
        for constant in undescribed(importlib.import_module(name)):
            lines += [f".. autodata:: {name}.{constant}", "   :no-value:", ""]
    return "\n".join(lines)


def undescribed(module: ModuleType) -> list[str]:
    """The public constants without a docstring, which autodoc would leave out."""
    text = Path(module.__file__).read_text("utf-8")
    assigned = dict.fromkeys(re.findall(r"^([A-Z][A-Z0-9_]*)(?:: [^=\n]+)? = ", text, re.MULTILINE))
    described = {name for _, name in ModuleAnalyzer.for_module(module.__name__).find_attr_docs()}
    return [name for name in assigned if name not in described and hasattr(module, name)]


def front() -> str:
    """The page of the package itself: a table of what it offers, each a link."""
    package = importlib.import_module(PACKAGE)
    head = [f"``{PACKAGE}``", "=" * (len(PACKAGE) + 4), "", *plain([package.__doc__]), ""]
    return "\n".join([*head, *table(package)])


def write(app) -> None:
    """Write every page that is new or has changed, and remove those of rooms that are gone."""
    folder = Path(app.srcdir) / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    pages = {f"{PACKAGE}.rst": front(), **{f"{room}.rst": page(room) for room in rooms()}}
    for name, words in pages.items():
        path = folder / name
        if not path.exists() or path.read_text("utf-8") != words:
            path.write_text(words, "utf-8")
    for path in folder.glob("*.rst"):
        if path.name not in pages:
            path.unlink()


def plain(lines: list[str]) -> list[str]:
    """A docstring in plain text as reStructuredText.

    Names in single backquotes become literals, marks that reStructuredText would read are escaped,
    and indented blocks, but for those of lists and sections (`Raises:`), are literal blocks.
    """
    lines = [line.rstrip() for line in lines]
    result, block = [], False
    for number, line in enumerate(lines):
        indented = line.startswith((" ", "\t"))
        before = next((text for text in reversed(lines[:number]) if text.strip()), "")
        if indented and not block and _opens(before):
            result += [*[""] * bool(result and result[-1]), "::", ""]
            block = True
        elif line.strip() and not indented:
            if block:
                result.append("")
            block = False
        if block:
            result.append(line)
            continue
        listed = line.startswith("- ") or not line.strip() or indented
        if not listed and number and lines[number - 1].startswith(("- ", "  ")) and result[-1]:
            result.append("")
        result.append(_escaped(line))
    return result


def _opens(before: str) -> bool:
    """Whether an indented line after this one begins a literal block."""
    if before.startswith((" ", "\t")):
        return False
    return (
        not _SECTIONS.match(before.strip())
        and not before.startswith("- ")
        and not before.endswith("::")
    )


def _escaped(line: str) -> str:
    if line.lstrip().startswith((">>>", "...", ".. ")) or line.rstrip().endswith("::"):
        return line
    parts = re.split(r"(``[^`]+``|`[^`]+`)", line)
    for place, part in enumerate(parts):
        if place % 2:
            parts[place] = part if part.startswith("``") else f"`{part}`"
        else:
            parts[place] = re.sub(r"([*|\\]|(?<=\w)_(?=\W|$))", r"\\\1", part)
    return _parted(parts)


def _parted(parts: list[str]) -> str:
    """Literals that touch a word are parted from it by an escaped blank, which is not shown."""
    words = ""
    for place, part in enumerate(parts):
        if place % 2 and words and re.match(r"[\w)\]]", words[-1]):
            words += "\\ "
        if not place % 2 and place and part and re.match(r"\w", part[0]):
            words += "\\ "
        words += part
    return words


def process(app, what, name, obj, options, lines: list[str]) -> None:
    """The hook of autodoc: plain text to reStructuredText, sections (`Raises:`) to fields."""
    if what == "data" and " ".join(lines).split() == (type(obj).__doc__ or "").split():
        lines.clear()  # a constant without a docstring would be described as its type is
    lines[:] = plain(lines)
    if what in ("class", "exception", "function", "method", "module"):
        lines[:] = GoogleDocstring(lines, _GOOGLE, app, what, name, obj, options).lines()


def skip(app, what, name, obj, skipped, options):
    """Leave out what dataclasses and flax add to a class."""
    return True if name in ("replace", "__init__", "parent", "name", "scope") else None


def setup(app):
    app.connect("builder-inited", write)
    app.connect("autodoc-process-docstring", process, priority=100)
    app.connect("autodoc-skip-member", skip)
    return {"version": "1", "parallel_read_safe": True}
