"""The house of docs/architecture.md: a room imports from lower floors alone; rooms of one floor do
not know each other.
"""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "ddib_jax"
FLOORS = [
    {"types", "files", "options", "progress", "xla_flags"},
    {"parallel", "distributed", "runs", "nets", "roofline"},
    {
        "schedules",
        "grids",
        "preconditioning",
        "noise_levels",
        "weightings",
        "guidance",
        "tiling",
        "text",
        "transport",
        "solvers",
        "perturbations",
        "data",
        "metrics",
        "training",
    },
    {"diffusion", "conditioning", "evaluation", "report", "codecs"},
    {"bridge", "pretrained", "analytic"},
    {"translation", "baselines", "trainer", "editing"},
    {"diagnosis", "distillation", "gan", "palettes"},
    {"lab"},
    {"cli"},
]
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
NEVER = {  # what a room may not import from outside, however low it lies
    "files": {"jax", "flax"},
    "xla_flags": {"jax", "flax"},
    "options": {"jax", "flax"},
    "progress": {"jax", "flax"},
    "runs": {"jax", "flax"},
    "report": {"jax", "flax"},
    "data": {"jax", "flax"},
    "text": {"jax", "flax"},
}


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> list[str]:
    modules = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            inside = node.module == "ddib_jax"
            modules += (
                [f"ddib_jax.{alias.name}" for alias in node.names] if inside else [node.module]
            )
    return modules


STUDIES = sorted((PACKAGE.parent / "experiments").rglob("*.py"))
PAGES = [path for path in STUDIES if path.parent.name == "pages"]
FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def test_every_room_has_a_floor():
    assert {room_of(path) for path in FILES} == set(FLOOR)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down(path):
    room = room_of(path)
    for module in imports(path):
        top, *rest = module.split(".")
        if top == "ddib_jax" and rest:
            other = rest[0]
            assert other == room or FLOOR[other] < FLOOR[room], (
                f"{room} (floor {FLOOR[room]}) imports {other}"
            )
        assert top not in NEVER.get(room, set()), f"{room} imports {top}"
        assert top not in ("torch", "tensorflow", "transformers"), f"{path} imports {top}"


def test_pmap_is_said_in_one_file():
    def says(path):
        return any(
            getattr(node, "attr", getattr(node, "id", None)) == "pmap"
            for node in ast.walk(ast.parse(path.read_text()))
        )

    assert [path.name for path in FILES if says(path)] == ["parallel.py"]


@pytest.mark.parametrize(
    "path", [*FILES, *STUDIES], ids=lambda path: str(path.relative_to(PACKAGE.parent))
)
def test_files_stay_small(path):
    assert len(path.read_text().splitlines()) <= 320


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_studies_use_the_library(path):
    """What a command does, Python can reach without it."""
    for module in imports(path):
        assert module.split(".")[:2] != ["ddib_jax", "cli"]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_pages_need_no_jax(path):
    for module in imports(path):
        assert module.split(".")[0] != "jax"
        assert module.split(".")[:2] in (["ddib_jax", "report"], ["ddib_jax", "runs"]) or not (
            module.startswith("ddib_jax")
        )


def test_the_map_is_true():
    """docs/architecture.md names every room, and no room that is not there."""
    text = (PACKAGE.parent / "docs" / "architecture.md").read_text()
    for room in FLOOR:
        name = f"{room}/" if (PACKAGE / room).is_dir() else f"{room}.py"
        assert f"`{name}`" in text, f"docs/architecture.md does not name {name}"
