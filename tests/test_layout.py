"""The project layout: imports go downwards, and importing is light."""

import ast
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = (
    ("terminal", "streams", "threads"),
    ("errors",),
    ("cache",),
    ("addresses", "atomic", "device", "config", "folder_lock", "report", "weights_file"),
    ("networks", "pictures"),
    ("losses",),
    ("models", "video"),
    ("data", "stylizing"),
    ("training", "upscaling"),
    ("batch", "gatys", "serve", "web", "webcam"),
    ("measuring",),
    ("cli",),
    ("__main__",),
)
"""Packages and top-level modules of fst, from the ground up; imports go to lower layers only."""
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
MODULES = {
    ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file
    for file in (ROOT / "fst").rglob("*.py")
}


def imports_of(source: str) -> set[str]:
    """Names of fst's modules, or names in them, that the source imports anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.startswith("fst.")}


def modules_imported(source: str) -> set[str]:
    """The modules of fst that the source imports: `fst.a.b` for both a module and a name in it."""
    found = imports_of(source)
    return {name if name in MODULES else name.rpartition(".")[0] for name in found} - {"fst"}


def room(module: str) -> str:
    """The package, or the module beside the packages, that a module belongs to."""
    return module.split(".")[1]


def test_every_module_has_its_layer():
    assert {room(module) for module in MODULES if module != "fst"} == LEVEL.keys()


@pytest.mark.parametrize("module", sorted(MODULES.keys() - {"fst"}))
def test_imports_between_packages_go_only_downwards(module: str):
    imported = modules_imported(MODULES[module].read_text(encoding="utf-8"))
    assert imported <= MODULES.keys()
    upwards = {
        other
        for other in imported
        if room(other) != room(module) and LEVEL[room(other)] >= LEVEL[room(module)]
    }
    assert not upwards


def test_no_imports_in_a_circle():
    graph = {
        module: modules_imported(file.read_text(encoding="utf-8")) - {module}
        for module, file in MODULES.items()
        if module != "fst"
    }
    TopologicalSorter(graph).prepare()  # raises CycleError


def test_the_check_sees_every_form_of_import():
    source = (
        "import fst.cli.app\nfrom fst.cli import train\ndef f():\n    from fst.data import batches"
    )
    assert modules_imported(source) == {"fst.cli.app", "fst.cli.train", "fst.data.batches"}


DOCUMENTED = {
    "torch._inductor.aoti_compile_and_package",
    "torch._inductor.aoti_load_package",
}
"""The private names that their libraries' own documentation says to use."""


def names_of(node: ast.AST) -> list[str]:
    """The names that lead to an attribute, calls and subscripts left out: [a, b, c] of a.b(x).c."""
    match node:
        case ast.Name(name):
            return [name]
        case ast.Attribute(value, name):
            return [*names_of(value), name]
        case ast.Call(value) | ast.Subscript(value):
            return names_of(value)
    return []


def private_names(source: str) -> set[str]:
    """The names of other libraries in a source that are private, or in something private."""
    names, roots = [], set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            module = getattr(node, "module", None)
            within = module.split(".") if module else []
            if within[:1] != ["fst"]:
                names += [[*within, *alias.name.split(".")] for alias in node.names]
                roots |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
                roots |= set(within[:1])
        elif isinstance(node, ast.Attribute):
            names.append(names_of(node))
    private = {
        ".".join(name)
        for name in names
        if name and name[0] in roots and re.search(r" _[^_]", " ".join(name))
    }
    return {name for name in private if not any(o.startswith(f"{name}.") for o in private)}


def test_only_public_names_of_other_libraries_are_used():
    used = {
        (name, module)
        for module, file in MODULES.items()
        for name in private_names(file.read_text(encoding="utf-8"))
    }
    assert {name for name, _ in used} == DOCUMENTED, used


def test_the_check_sees_every_form_of_a_private_name():
    source = (
        "import torch\nfrom hydra._internal.utils import parser\nfrom torch import nn, P\n"
        "def f(self):\n    from os import _exit\n"
        "    self._own()\n    torch._foreach_norm(nn._reduction.get())\n    torch.__version__\n"
        "    P().parse(self.text)[0]._value"
    )
    assert private_names(source) == {
        "hydra._internal.utils.parser",
        "os._exit",
        "torch._foreach_norm",
        "nn._reduction.get",
        "P.parse._value",
    }


def opens_text_as_the_locale_has_it(node: ast.AST) -> bool:
    """Whether a call reads or writes text without an encoding: on Windows in cp1252."""
    if not isinstance(node, ast.Call) or any(each.arg == "encoding" for each in node.keywords):
        return False
    match node.func:
        case ast.Attribute(attr="read_text" | "write_text" | "TextIOWrapper" | "fdopen"):
            return True
        case ast.Attribute(ast.Name(id="av"), "open"):  # videos
            return False
        case ast.Name(id="open") | ast.Attribute(attr="open" | "NamedTemporaryFile"):
            modes = [*node.args, *(each.value for each in node.keywords if each.arg == "mode")]
            texts = [each.value for each in modes if isinstance(each, ast.Constant)]
            found = [
                text for text in texts if isinstance(text, str) and set(text) <= set("rwax+tb")
            ]
            return any("b" not in mode for mode in found) or (not modes and not node.keywords)
    return False


@pytest.mark.parametrize("folder", ["fst", "scripts"])
def test_text_is_utf_8_on_every_system(folder: str):
    found = [
        f"{file.relative_to(ROOT)}:{node.lineno}"
        for file in sorted((ROOT / folder).rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if opens_text_as_the_locale_has_it(node)
    ]
    assert not found, "name an encoding"


def test_the_check_sees_every_form_of_opening_text():
    text = ["p.read_text()", "p.write_text('a')", "p.open()", "p.open('a')", "open(p, 'w')"]
    other = ["p.open('rb')", "open(p, mode='wb')", "Image.open(p)", "p.open(encoding='utf-8')"]
    for source in (*text, *other):
        call = ast.parse(source).body[0].value
        assert opens_text_as_the_locale_has_it(call) == (source in text), source


def test_importing_fst_is_light_and_leaves_no_trace(tmp_path: Path):
    heavy = ["torch", "torchvision", "datasets", "cv2", "onnxruntime", "tensorboard", "hydra"]
    code = f"import sys, fst; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
    assert not list(tmp_path.iterdir())


def test_a_training_command_imports_torch_only_after_it_has_set_how_threads_wait():
    code = "import sys, fst.cli.train, fst.cli.optimize; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_loading_a_model_needs_no_training_code():
    code = "import sys, fst; fst.load; print([m for m in sys.modules if m.startswith('fst.')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {
        "fst.training.run",
        "fst.losses.perceptual",
        "fst.losses.vgg",
        "fst.data.batches",
    } & set(ast.literal_eval(done.stdout))
