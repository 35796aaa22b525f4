"""Architecture of the project: arrows between modules, sizes, style and language.

Read from the source with ``ast``; nothing is imported. A function that is longer than the rule
(and the file of the network) gives the reason in its docstring: "Longer than the rule ...".
"""

import ast
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = (
    "image_depth_estimation.py",
    "video_depth_estimation_separate_vid.py",
    "video_depth_estimation_unified_vid.py",
    "compare_image.py",
)
MODULE_LINES, FUNCTION_LINES = 500, 40
SMALL_LINES = 80  # a smaller module with a single importer belongs into that one
PACKAGE_FILES = 46
PASSED = {"image": 24, "video": 30}  # modules in which a run calls a function
EXCUSE = "Longer than the rule"
DOCSTRING_WORDS = 12

# The app from top to bottom. A module imports from its own floor, those below, and the core.
FLOORS = (
    {"commands"},
    {"run_image", "run_video", "run_calibrate"},
    {"stereo_video", "calibration_pairs", "video_writer", "window", "output"},
    {"align", "video", "images", "download", "settings", "prompts"},
    {"sources", "pipeline", "render", "script"},
)

# Slow to import, or optional.
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
    "selectROI",
    "setWindowProperty",
    "getWindowImageRect",
    "getWindowProperty",
}
MAY_READ = {f"crestereo/{name}.py" for name in ("formats", "app/images", "app/video")}
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


FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


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


def lines_of_code(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Count the lines of a function's body without its docstring."""
    body = node.body[1:] if ast.get_docstring(node) else node.body
    return (node.end_lineno or 0) - body[0].lineno + 1 if body else 0


def module_of(path: Path) -> str:
    """Return the dotted name of a module, that of the package for ``__init__``."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path) for path in OURS}


def imported_modules(path: Path) -> set[str]:
    """Return the modules of the project that a module imports, at once or late."""
    names = all_imports(path) & MODULES - {module_of(path)}
    submodules = {name.rpartition(".")[0] for name in names}
    faces = {module_of(p) for p in OURS if p.stem == "__init__"}
    # ``from package import module`` names both; only the module is used
    return {name for name in names if name not in faces or name not in submodules}


def offenders(paths: list[Path], judge) -> dict[str, list]:
    """Return what `judge` finds in each file, without the files where it finds nothing."""
    found = {name_of(path): sorted(judge(path)) for path in paths}
    return {name: wrong for name, wrong in found.items() if wrong}


# --- arrows -------------------------------------------------------------------------------------


def test_the_sources_were_found():
    names = {name_of(path) for path in OURS}
    assert {"crestereo/estimator.py", "crestereo/errors.py", "crestereo/app/script.py"} <= names
    assert TOOLS
    assert TRAINING


def test_the_core_never_imports_the_app():
    assert not offenders(CORE, lambda path: within(all_imports(path), "crestereo.app"))


def test_the_core_does_not_print_ask_parse_or_fetch():
    talk = {"print", "input", "exit", "quit", "sys.exit"}
    packages = {"argparse", "urllib", "http", "socket", "requests", "av"}
    assert not offenders(CORE, lambda path: talk & {name for name, _ in calls(path)})
    assert not offenders(CORE, lambda path: packages & roots(all_imports(path)))


def test_the_core_needs_few_packages():
    arrays = {"numpy", "cv2", "onnxruntime", "skimage", "PIL", "crestereo"}
    files = {"platformdirs", "yaml"}  # of the user: cache, calibrations
    allowed = {*sys.stdlib_module_names, *arrays, *files}
    assert not offenders(CORE, lambda path: roots(all_imports(path)) - allowed)


def test_torch_is_used_in_training_only():
    users = [*CORE, *APP, *TOOLS, *TOP]
    assert not offenders(users, lambda path: {"torch"} & roots(all_imports(path)))


def test_the_program_imports_neither_training_nor_tools():
    program = [*CORE, *APP, *TOP]
    assert not offenders(program, lambda path: {"training", "tools"} & roots(all_imports(path)))


def test_training_never_imports_the_app():
    assert not offenders(TRAINING, lambda path: within(all_imports(path), "crestereo.app"))


def test_heavy_packages_are_imported_late():
    program = [*CORE, *APP, *TOP]
    assert not offenders(program, lambda path: HEAVY & roots(imports_in(at_import(path), path)))


def floor_of(path: Path) -> int:
    return next(n for n, floor in enumerate(FLOORS) if path.stem in floor)


def test_every_module_of_the_app_has_a_floor():
    modules = {path.stem for path in APP if path.stem != "__init__"}
    assert modules == set().union(*FLOORS)


def test_no_module_of_the_app_imports_from_a_floor_above():
    places = {module_of(path): floor_of(path) for path in APP if path.stem != "__init__"}

    def above(path: Path) -> set[str]:
        used = imported_modules(path)
        return {name for name in used if places.get(name, len(FLOORS)) < floor_of(path)}

    assert not offenders([path for path in APP if path.stem != "__init__"], above)


def test_no_modules_import_each_other_in_a_circle():
    used = {module_of(path): imported_modules(path) for path in OURS}
    while free := [name for name, needs in used.items() if not needs & set(used)]:
        for name in free:
            del used[name]
    assert not used, "each of these imports, directly or not, itself"


def test_window_calls_are_in_one_module():
    others = [path for path in OURS if name_of(path) != "crestereo/app/window.py"]
    assert not offenders(others, lambda path: WINDOW_CALLS & cv2_names(path))


def test_images_and_videos_are_read_in_three_modules():
    """Writing a video needs ``av.open`` too, once more for the sound of the source."""
    images = {"cv2.imread", "cv2.imdecode", "cv2.imreadmulti", "cv2.imdecodemulti", "Image.open"}
    videos = {"cv2.VideoCapture", "av.open"}

    def readers(path):
        names = images if path in TOOLS else images | videos
        if name_of(path) == "crestereo/app/video_writer.py":
            names = names - {"av.open"}
        return names & {name for name, _ in calls(path)}

    others = [path for path in [*CORE, *APP, *TOOLS, *TOP] if name_of(path) not in MAY_READ]
    assert not offenders(others, readers)


# --- sizes --------------------------------------------------------------------------------------


def length(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def test_modules_are_short():
    long = [path for path in OURS if length(path) > MODULE_LINES]
    # one readable file for the network; it gives the reason
    assert not [
        name_of(path)
        for path in long
        if path not in TRAINING or EXCUSE not in (ast.get_docstring(tree_of(path)) or "")
    ]


def test_functions_are_short_or_give_the_reason():
    def too_long(path: Path) -> list[str]:
        functions = [n for n in ast.walk(tree_of(path)) if isinstance(n, FUNCTIONS)]
        return [
            f"{node.name}: {lines_of_code(node)} lines"
            for node in functions
            if lines_of_code(node) > FUNCTION_LINES
            and EXCUSE not in (ast.get_docstring(node) or "")
        ]

    assert not offenders(OURS, too_long)


def test_the_package_has_few_files():
    assert len(CORE) + len(APP) <= PACKAGE_FILES


# Prints the modules of the package in which a run calls a function, imports left out.
TRACER = """
import os, runpy, sys, threading
passed = set()
def trace(frame, event, argument):
    code = frame.f_code
    if event == "call" and code.co_flags & 1 and "crestereo" in code.co_filename.split(os.sep)[-3:]:
        caller = frame
        while caller and caller.f_code.co_name != "<module>":
            caller = caller.f_back
        if not caller or "crestereo" not in caller.f_code.co_filename.split(os.sep)[-3:]:
            passed.add(code.co_filename)
def leave(code, leave=os._exit):
    sys.setprofile(None)
    print(*sorted(passed), sep="\\n", file=sys.stderr, flush=True)
    leave(code)
os._exit = leave  # scripts leave by it where threads are left
sys.path.insert(0, os.getcwd())
sys.argv = sys.argv[1:]
threading.setprofile(trace)
sys.setprofile(trace)
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
finally:
    leave(0)
"""


@pytest.mark.parametrize(
    ("kind", "script", "answers", "flags"),
    [
        ("image", SCRIPTS[0], "\n\n", ["--model-shape", "64x96"]),
        ("video", SCRIPTS[2], "\n\n", ["--end", "0.1"]),
    ],
)
def test_a_run_passes_few_modules(kind, script, answers, flags, tmp_path):
    flags = [*flags, "--iters", "1", "--no-window", "--output-dir", str(tmp_path)]
    result = subprocess.run(
        [sys.executable, "-c", TRACER, script, *flags],
        cwd=ROOT,
        input=answers,
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    passed = {line for line in result.stderr.splitlines() if line.endswith(".py")}
    assert 15 < len(passed) <= PASSED[kind], "\n".join(sorted(passed))


def test_no_two_modules_share_a_name():
    for package in ([*CORE, *APP, *TOP], TOOLS, TRAINING):
        stems = Counter(path.stem for path in package if path.stem != "__init__")
        assert not [stem for stem, count in stems.items() if count > 1]


# --- style --------------------------------------------------------------------------------------


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


def public(body: list[ast.stmt]) -> list[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return [node for node in body if isinstance(node, kinds) and not node.name.startswith("_")]


def is_property(decorator: ast.expr) -> bool:
    """Return whether a decorator makes a property, whose name and type may suffice."""
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
    assert not offenders([*CORE, *APP, *TOOLS, *TRAINING], undocumented)


def first_sentence(docstring: str) -> str:
    return docstring.split("\n\n", 1)[0]


def test_docstrings_begin_with_a_short_line():
    def long_lines(path):
        nodes = (ast.Module, ast.ClassDef, *FUNCTIONS)
        documented = [n for n in ast.walk(tree_of(path)) if isinstance(n, nodes)]
        firsts = [first_sentence(ast.get_docstring(node) or "") for node in documented]
        return [first for first in firsts if len(first.split()) > DOCSTRING_WORDS]

    assert not offenders([*CORE, *APP, *TOOLS, *TRAINING], long_lines)
