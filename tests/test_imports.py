"""Who may import whom, and who may know whom by name.

reproduce -> training, evaluation, reporting, export -> models -> layers -> ops; data -> ops
"""

import ast
import functools
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
#: What modules of a room may import of ours, besides their own room.
COMMON = {"contracts", "errors", "files", "mot_challenge", "schedules"}
ALLOWED = {
    "ops": set(),
    "layers": {"ops"},
    "models": {"layers", "ops"},
    "data": {"ops"},
    "training": {"models", "layers", "ops"},
    "evaluation": {"ops"},  # a metric never imports a model
    "reporting": {"evaluation"},
    "export": {"models", "layers", "ops"},
}
#: Modules that stand beside the rooms.
ALONE = {
    "__init__": set(),
    "contracts": set(),
    "errors": set(),
    "files": {"errors"},
    "mot_challenge": {"errors"},
    "schedules": {"errors"},
}
SHARED_ROOMS = ("ops", "layers", "data", "training", "evaluation", "reporting", "export")


def modules() -> list[pathlib.Path]:
    found = sorted(path for folder in ("silot_tf", "reproduce") for path in (ROOT / folder).rglob("*.py"))
    assert len(found) > 30
    return found


def room_of(path: pathlib.Path) -> str:
    """First part below the package: a room's folder, or the name of a module beside the rooms."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[1] if parts[0] == "silot_tf" else parts[0]


@functools.cache
def tree_of(path: pathlib.Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def imports(path: pathlib.Path, *, at_load_time: bool = False) -> set[str]:
    """Absolute names of everything that a module imports, also inside functions unless `at_load_time`."""
    found, waiting = set(), [tree_of(path)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        if not (at_load_time and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)):
            waiting += ast.iter_child_nodes(node)
    return found


def rooms_imported(path: pathlib.Path) -> set[str]:
    names = [name.split(".") for name in imports(path)]
    return {parts[1] for parts in names if parts[0] == "silot_tf" and len(parts) > 1} | {
        parts[0] for parts in names if parts[0] == "reproduce"
    }


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_one_way(path):
    room, used = room_of(path), rooms_imported(path)
    if room == "reproduce":
        return
    assert "reproduce" not in used
    if room in ALLOWED:
        assert used - {room} <= ALLOWED[room] | COMMON
    elif room in ALONE:
        assert used <= ALONE[room]
    else:  # configuration, run stamp and the like: tools of the programs, which no room may need
        assert used <= COMMON


def test_recording_stands_beside_the_library():
    """atari_data uses files and data formats of ours, nothing of ours needs atari_data."""
    for path in modules():
        if room_of(path) != "reproduce":
            assert not [name for name in imports(path) if name.split(".")[0] == "atari_data"], path
    for path in (ROOT / "atari_data").rglob("*.py"):
        used = rooms_imported(path)
        assert used <= {"data", "errors", "files"}, path


def test_every_room_has_a_rule():
    folders = {path.name for path in (ROOT / "silot_tf").iterdir() if path.is_dir() and any(path.glob("*.py"))}
    assert folders <= set(ALLOWED)


def test_model_rooms_do_not_know_each_other():
    models = ROOT / "silot_tf" / "models"
    rooms = [path for path in models.iterdir() if path.is_dir() and any(path.glob("*.py"))]
    assert len(rooms) >= 2
    for room in rooms:
        for path in room.rglob("*.py"):
            others = {n.split(".")[2] for n in imports(path) if n.startswith("silot_tf.models.")} - {room.name, "base"}
            assert not others, f"{path} imports {others}"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_only_one_module_knows_tensorflow_probability(path):
    users = [name for name in imports(path) if name.split(".")[0] in ("tensorflow_probability", "tf_keras")]
    if path != ROOT / "silot_tf" / "ops" / "distributions.py":
        assert not users
    else:
        assert users and all(".distributions" in name for name in users)


def test_ops_have_no_variables_so_never_import_keras():
    for path in (ROOT / "silot_tf" / "ops").rglob("*.py"):
        assert not [name for name in imports(path) if name.split(".")[0] in ("keras", "tf_keras")], path
        assert "keras" not in code_words(path), path


def test_gin_tf_is_never_imported():
    for path in modules():
        assert not [name for name in imports(path) if name.startswith("gin.")], path


def model_names() -> set[str]:
    """Names that belong to model rooms: folders, modules of baselines, public classes; also of rooms to come."""
    models = ROOT / "silot_tf" / "models"
    names = {"sqair", "scalor", "provide", "savi"}
    for path in models.rglob("*.py"):
        room, *_ = path.relative_to(models).parts
        if path.parent == models:
            continue  # the face of all models
        names |= {path.stem} - {"__init__"} if room == "baselines" else {room}
        names |= {node.name for node in tree_of(path).body if isinstance(node, ast.ClassDef)}
    return {name for name in names if not name.startswith("_")}


def code_words(path: pathlib.Path) -> set[str]:
    """Identifiers and string constants of a module; docstrings and comments, where sources are cited, left out."""
    tree, words = tree_of(path), set()
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            words.add(node.id)
        elif isinstance(node, ast.Attribute):
            words.add(node.attr)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            words.add(node.name)
        elif isinstance(node, ast.arg):
            words.add(node.arg)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            words.add(node.value)
    return words | imports(path)


@pytest.mark.parametrize(
    "path",
    [
        path
        for path in modules()
        if room_of(path) in (*SHARED_ROOMS, *ALONE, "configuration") or path.name in ("runner.py", "experiment.py")
    ],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_shared_code_names_no_model(path):
    names = model_names()
    spoken = {name.upper() for name in names} | {name for name in names if not name.islower()}  # SILOT, Discovery

    def known(text):
        tokens = set(re.split(r"[^A-Za-z0-9_]+", text.replace("silot_tf", "").replace("SILOT_TF", "")))
        is_code = not re.search(r"\s", text)  # a sentence may use the word "provide"
        parts = {part for token in tokens for part in token.split("_")} if is_code else set()
        return (tokens & (spoken | (names if is_code else set()))) | (parts & names)

    assert not {text: known(text) for text in code_words(path) if known(text)}


@pytest.mark.parametrize(
    "module",
    [
        "silot_tf",
        *(f"silot_tf.{name}" for name in ("contracts", "errors", "schedules", "configuration", "data.rollouts")),
        "gin_configs",
    ],
)
def test_importing_does_not_start_tensorflow(module):
    program = f"import sys, {module}; sys.exit(any(name in sys.modules for name in ('tensorflow', 'keras')))"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0
