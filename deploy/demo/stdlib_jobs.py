"""A small RQ application: it checks and compresses the modules of Python's standard library.

Nothing in here knows Poolwarden. These are ordinary RQ jobs; read them as an example of "my application". They work on
real files, and some fail for real reasons: modules that import what this platform does not have, test files with a
deliberate syntax error or a foreign encoding, and empty files.
"""

import ast
import importlib.util
import json
import lzma
import os
import pkgutil
import sys
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

MATCH_FINDERS = (lzma.MF_HC3, lzma.MF_HC4, lzma.MF_BT2, lzma.MF_BT3, lzma.MF_BT4)


class UnresolvedImport(ImportError):
    """The module imports something that this interpreter cannot find."""


class EmptyModule(ValueError):
    """The file has no content, so there is no compression ratio to report."""


def parse_module(path: str) -> dict[str, Any]:
    """Parse the file, count its syntax nodes, look up its absolute imports; the result is written and returned.

    Raises UnicodeDecodeError (not UTF-8), SyntaxError, or UnresolvedImport for the first import that is not found.
    """
    tree = ast.parse(Path(path).read_text(encoding="utf-8", errors="strict"), filename=path)
    imports = sorted(set(_absolute_imports(tree)))
    for name in imports:
        if not can_resolve(name):
            raise UnresolvedImport(f"no module named {name!r} on {sys.platform}", name=name, path=path)
    return _write("parse", path, {"path": path, "nodes": sum(1 for _ in ast.walk(tree)), "imports": len(imports)})


def compress_module(path: str) -> dict[str, Any]:
    """Compress the file with every match finder of LZMA at preset 9 and report the smallest size, in bytes.

    Raises EmptyModule for a file of zero bytes.
    """
    data = Path(path).read_bytes()
    if not data:
        raise EmptyModule("nothing to compress: the file is empty")
    smallest = min(len(_compress(data, finder)) for finder in MATCH_FINDERS)
    return _write("compress", path, {"path": path, "bytes": len(data), "compressed": smallest})


def summarize() -> dict[str, int]:
    """How many results there are by now, of each job."""
    folders = sorted(Path(os.environ["STDLIB_DEMO_OUT"]).glob("*/"))
    return {folder.name: sum(1 for _ in folder.rglob("*.json")) for folder in folders}


def can_resolve(name: str) -> bool:
    """Whether ``import name`` would find a module here. Executes no code of the module or of its packages.

    ``find_spec("a.b")`` imports the package ``a``. So only the first part goes through ``find_spec``; each further part
    is looked up in the folders of its parent, by the finder that the import system itself uses for a folder.
    """
    if name in sys.modules:
        return True
    first, *rest = name.split(".")
    spec = importlib.util.find_spec(first)
    full_name = first
    for part in rest:
        if spec is None:
            return False
        full_name += f".{part}"
        spec = _find_in_folders(full_name, spec.submodule_search_locations or [])
    return spec is not None


def _find_in_folders(name: str, folders: list[str]) -> ModuleSpec | None:
    for folder in folders:
        finder = pkgutil.get_importer(folder)
        spec = finder.find_spec(name) if finder else None
        if spec is not None:
            return spec
    return None


def _absolute_imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module


def _compress(data: bytes, finder: int) -> bytes:
    return lzma.compress(data, filters=[{"id": lzma.FILTER_LZMA2, "preset": 9, "mf": finder}])


def _write(kind: str, path: str, result: dict[str, Any]) -> dict[str, Any]:
    """Write one JSON file per module under ``STDLIB_DEMO_OUT``; running the same job again replaces it in one step."""
    parts = Path(path).absolute().parts[1:]
    target = Path(os.environ["STDLIB_DEMO_OUT"], kind, *parts).with_suffix(".json")
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_suffix(f".{os.getpid()}")
    unfinished.write_text(json.dumps(result) + "\n", encoding="utf-8")
    unfinished.replace(target)
    return result
