"""The shape of the house: which module may use what, and how long it may be.

Read from the source with ``ast``; nothing is imported. A module or function that is longer than
the rule says why in its docstring, in a sentence that starts with "Longer than the rule".
"""

import ast
import sys
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
SCRIPTS = (
    "image_depth_estimation.py",
    "video_depth_estimation_separate_vid.py",
    "video_depth_estimation_unified_vid.py",
    "compare_image.py",
)
MODULE_LINES, FUNCTION_LINES = 500, 40
EXCUSE = "Longer than the rule"

# What takes long to import, or is only there where somebody asked for it.
HEAVY = {
    "cap_from_youtube",
    "imread_from_url",
    "matplotlib",
    "onnxruntime",
    "openvino",
    "skimage",
    "yt_dlp",
}
WINDOW_CALLS = {
    "imshow",
    "namedWindow",
    "waitKey",
    "waitKeyEx",
    "pollKey",
    "destroyAllWindows",
    "destroyWindow",
    "setMouseCallback",
    "resizeWindow",
}
# How many arguments OpenCV requires; what follows is an option (or, third in many, `dst`).
CV2_REQUIRED = {
    "GaussianBlur": 3,
    "Sobel": 4,
    "blur": 2,
    "boxFilter": 3,
    "circle": 4,
    "compareHist": 3,
    "copyMakeBorder": 6,
    "cvtColor": 2,
    "dilate": 2,
    "erode": 2,
    "filter2D": 3,
    "findHomography": 2,
    "imdecode": 2,
    "imencode": 2,
    "imread": 1,
    "line": 4,
    "medianBlur": 2,
    "morphologyEx": 3,
    "normalize": 2,
    "polylines": 4,
    "putText": 6,
    "rectangle": 4,
    "remap": 4,
    "resize": 2,
    "threshold": 4,
    "warpAffine": 3,
    "warpPerspective": 3,
}


def files(*places: str) -> list[Path]:
    found = [p for place in places for p in sorted((ROOT / place).rglob("*.py"))]
    return [path for path in found if "__pycache__" not in path.parts]


CORE = [path for path in files("crestereo") if "app" not in path.relative_to(ROOT).parts]
APP = files("crestereo/app")
TOOLS = files("tools")
TRAINING = files("training")
TOP = [ROOT / name for name in SCRIPTS if (ROOT / name).exists()]
OURS = [*CORE, *APP, *TOOLS, *TRAINING, *TOP]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports_in(nodes, path: Path) -> set[str]:
    """Return the full dotted names that import statements among `nodes` bring in."""
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = list(package[: len(package) - node.level + 1]) if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            found |= {source, *(f"{source}.{alias.name}" for alias in node.names)}
    return found


def all_imports(path: Path) -> set[str]:
    return imports_in(ast.walk(tree_of(path)), path)


def at_import(path: Path) -> list[ast.AST]:
    """Return the nodes that run when the module is imported, without type-checking blocks."""
    pending, found = list(tree_of(path).body), []
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        found.append(node)
        pending.extend(ast.iter_child_nodes(node))
    return found


def roots(names: set[str]) -> set[str]:
    return {name.split(".")[0] for name in names}


def within(names: set[str], package: str) -> set[str]:
    return {name for name in names if name == package or name.startswith(package + ".")}


def calls(path: Path) -> list[tuple[str, ast.Call]]:
    """Return every call with its dotted name, for example ``cv2.resize``."""
    found = [node for node in ast.walk(tree_of(path)) if isinstance(node, ast.Call)]
    return [
        (ast.unparse(node.func), node)
        for node in found
        if isinstance(node.func, ast.Name | ast.Attribute)
    ]


def called_cv2(path: Path) -> list[tuple[str, ast.Call]]:
    return [(name[4:], node) for name, node in calls(path) if name.startswith("cv2.")]


def cv2_names(path: Path) -> set[str]:
    return {name for name, _ in called_cv2(path)}


def offenders(paths: list[Path], judge) -> dict[str, list]:
    """Return what `judge` holds against each file, without the files it has nothing against."""
    found = {name_of(path): sorted(judge(path)) for path in paths}
    return {name: wrong for name, wrong in found.items() if wrong}


# --- arrows -------------------------------------------------------------------------------------


def test_the_house_was_found():
    names = {name_of(path) for path in OURS}
    assert {"crestereo/estimator.py", "crestereo/errors.py", "crestereo/app/script.py"} <= names
    assert TOOLS
    assert TRAINING


def test_the_core_never_imports_the_app():
    assert not offenders(CORE, lambda path: within(all_imports(path), "crestereo.app"))


def test_the_core_neither_prints_nor_asks_nor_parses_nor_fetches():
    talk = {"print", "input", "exit", "quit", "sys.exit"}
    packages = {"argparse", "urllib", "http", "socket", "requests"}
    assert not offenders(CORE, lambda path: talk & {name for name, _ in calls(path)})
    assert not offenders(CORE, lambda path: packages & roots(all_imports(path)))


def test_the_core_needs_only_arrays_pictures_and_the_runtime():
    allowed = {*sys.stdlib_module_names, "numpy", "cv2", "onnxruntime", "skimage", "crestereo"}
    assert not offenders(CORE, lambda path: roots(all_imports(path)) - allowed)


def test_torch_lives_in_training_only():
    users = [*CORE, *APP, *TOOLS, *TOP]
    assert not offenders(users, lambda path: {"torch"} & roots(all_imports(path)))


def test_nobody_of_the_program_imports_training_or_tools():
    program = [*CORE, *APP, *TOP]
    assert not offenders(program, lambda path: {"training", "tools"} & roots(all_imports(path)))


def test_training_knows_no_app():
    assert not offenders(TRAINING, lambda path: within(all_imports(path), "crestereo.app"))


def test_heavy_packages_are_imported_where_they_are_used():
    program = [*CORE, *APP, *TOP]
    assert not offenders(program, lambda path: HEAVY & roots(imports_in(at_import(path), path)))


def test_windows_belong_to_the_viewer():
    others = [path for path in OURS if name_of(path) != "crestereo/app/window.py"]
    assert not offenders(others, lambda path: WINDOW_CALLS & cv2_names(path))


def test_pictures_are_decoded_in_one_module():
    others = [p for p in [*CORE, *APP, *TOOLS, *TOP] if name_of(p) != "crestereo/formats.py"]
    readers = {"imread", "imdecode", "imreadmulti"}
    assert not offenders(others, lambda path: readers & cv2_names(path))


def test_videos_are_opened_in_one_module():
    openers = [name_of(p) for p in [*CORE, *APP, *TOP] if "VideoCapture" in cv2_names(p)]
    assert len(openers) <= 1
    assert all(name.startswith("crestereo/app/") for name in openers)


# --- manners ------------------------------------------------------------------------------------


def test_options_of_opencv_go_by_keyword():
    def positional_options(path):
        return [
            f"line {node.lineno}: {name}"
            for name, node in called_cv2(path)
            if len(node.args) > CV2_REQUIRED.get(name, len(node.args))
        ]

    assert not offenders(OURS, positional_options)


def test_every_resize_names_its_interpolation():
    def unnamed(path):
        return [
            f"line {node.lineno}"
            for name, node in called_cv2(path)
            if name == "resize"
            and not any(keyword.arg in ("interpolation", None) for keyword in node.keywords)
        ]

    assert not offenders(OURS, unnamed)


def test_asserts_do_not_check_input():
    def asserts(path):
        return [n.lineno for n in ast.walk(tree_of(path)) if isinstance(n, ast.Assert)]

    assert not offenders([*CORE, *APP, *TOP], asserts)


def test_no_exception_is_swallowed_whole():
    def swallowers(path):
        handlers = [n for n in ast.walk(tree_of(path)) if isinstance(n, ast.ExceptHandler)]
        return [
            node.lineno
            for node in handlers
            if (node.type is None or ast.unparse(node.type) in {"Exception", "BaseException"})
            and all(isinstance(each, ast.Pass) for each in node.body)
        ]

    assert not offenders(OURS, swallowers)


def test_nothing_is_executed_from_text():
    program = [*CORE, *APP, *TOP]
    assert not offenders(program, lambda path: {"exec", "eval"} & {n for n, _ in calls(path)})


def lines_of_code(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Count the lines of a function's body without its docstring."""
    body = node.body[1:] if ast.get_docstring(node) else node.body
    return (node.end_lineno or 0) - body[0].lineno + 1 if body else 0


def too_long(path: Path) -> list[str]:
    tree, found = tree_of(path), []
    length = len(path.read_text(encoding="utf-8").splitlines())
    if length > MODULE_LINES and EXCUSE not in (ast.get_docstring(tree) or ""):
        found.append(f"{length} lines")
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            and lines_of_code(node) > FUNCTION_LINES
            and EXCUSE not in (ast.get_docstring(node) or "")
        ):
            found.append(f"{node.name}: {lines_of_code(node)} lines")
    return found


def test_modules_and_functions_are_short_or_say_why_not():
    assert not offenders(OURS, too_long)


def public(body: list[ast.stmt]) -> list[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return [node for node in body if isinstance(node, kinds) and not node.name.startswith("_")]


def is_property(decorator: ast.expr) -> bool:
    """Tell a property, which its name and type may say enough about."""
    return ast.unparse(decorator) in {"property", "cached_property", "functools.cached_property"}


def undocumented(path: Path) -> list[str]:
    tree = tree_of(path)
    nodes = public(tree.body)
    nodes += [n for c in nodes if isinstance(c, ast.ClassDef) for n in public(c.body)]
    described = {node.name for node in nodes if ast.get_docstring(node)}  # once for an interface
    named = [node for node in nodes if not any(map(is_property, node.decorator_list))]
    found = [node.name for node in named if node.name not in described]
    return found if ast.get_docstring(tree) or not tree.body else ["the module", *found]


def test_everything_public_has_a_docstring():
    assert not offenders([*CORE, *APP, *TOOLS], undocumented)
