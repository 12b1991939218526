"""The user's own code: its folder, the files that are shipped with a job, and a check that its class exists."""

import ast
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

from stoker.errors import JobError, Problem
from stoker.job.architecture.choice import Architecture
from stoker.job.architecture.custom import Custom
from stoker.job.environment import Environment
from stoker.jobfile.suggestion import did_you_mean

FILE_LIMIT = 2000
SIZE_LIMIT_MB = 20
SKIPPED = frozenset({"__pycache__", "node_modules", "build", "dist"})
SHOWN_NAMES = 20


def code_folder(architecture: Architecture | None, environment: Environment, base: Path) -> Path | None:
    """Return the absolute folder of a job's code; None if it has no code of its own.

    Args:
        architecture: of the job; if it is custom, the folder is `base` unless the job sets another.
        environment: of the job.
        base: folder of the job file.

    """
    if environment.code is None and not isinstance(architecture, Custom):
        return None
    named = base / os.path.expanduser(environment.code or "")  # noqa: PTH111  # keeps `~name` of an unknown user
    return Path(os.path.abspath(named))  # noqa: PTH100  # does not resolve symbolic links


def code_files(folder: Path) -> list[Path]:
    """Return the Python files below a job's code folder, sorted; they are shipped with the job.

    Hidden folders, virtual environments and build folders are skipped.

    Raises:
        JobError: there are too many files, or they are too large.

    """
    found: list[Path] = []
    size = 0
    for root, folders, names in os.walk(folder):
        here = Path(root)
        if "pyvenv.cfg" in names and here != folder:
            folders.clear()
            continue
        folders[:] = [name for name in folders if not _skipped(name)]
        python = [here / name for name in names if name.endswith(".py")]
        files = [file for file in python if file.is_file()]
        found += files
        size += sum(file.stat().st_size for file in files)
        if len(found) > FILE_LIMIT or size > SIZE_LIMIT_MB * 10**6:
            limit = f"{FILE_LIMIT:,} Python files" if len(found) > FILE_LIMIT else f"{SIZE_LIMIT_MB} MB of Python files"
            cure = "set environment.code to a smaller folder"
            raise JobError([Problem("environment.code", f"more than {limit} below '{folder}'; {cure}")])
    return sorted(found)


def code_problems(architecture: Architecture | None, environment: Environment, folder: Path) -> list[Problem]:
    """Check that the folder and the class of a job exist, without running any of its code."""
    try:
        if not folder.is_dir():
            fault = "is not a folder" if folder.exists() else "does not exist"
            shown = environment.code or str(folder)
            absolute = "" if shown == str(folder) else f" ({folder})"
            return [Problem("environment.code", f"'{shown}' {fault}{absolute}")]
        message = _class_problem(architecture, folder) if isinstance(architecture, Custom) else ""
    except OSError as error:
        message = f"the code in '{folder}' cannot be read: {error.strerror}"
    return [Problem("architecture.class", message)] if message else []


def _skipped(folder: str) -> bool:
    return folder.startswith(".") or folder in SKIPPED


def _class_problem(architecture: Custom, folder: Path) -> str:
    module, _, name = architecture.class_name.partition(":")
    file = _module_file(folder, module)
    return _missing_class(file, name, folder) if file else _missing_module(folder, module)


def _module_file(folder: Path, module: str) -> Path | None:
    """Return the file of a module as Python finds it: a package takes precedence over a file of the same name."""
    *packages, last = module.split(".")
    if any(_skipped(package) for package in packages):
        return None
    here = folder.joinpath(*packages)
    candidates = [here / f"{last}.py"] if _skipped(last) else [here / last / "__init__.py", here / f"{last}.py"]
    return next((file for file in candidates if file.is_file()), None)


def _missing_module(folder: Path, module: str) -> str:
    package, _, _ = module.rpartition(".")
    there = folder.joinpath(*package.split(".")) if package else folder
    while not there.is_dir():
        package, there = package.rpartition(".")[0], there.parent
    packages = {file.parent.name for file in there.glob("*/__init__.py") if not _skipped(file.parent.name)}
    found = packages | {file.stem for file in there.glob("*.py")} - {"__init__"}
    usable = sorted(name for name in found if name.isidentifier())
    names = [f"{package}.{name}" if package else name for name in usable]
    guess = did_you_mean(module, names)
    if not guess and names:
        guess = f"; it has {_listed(names)}"
    return f"no module '{module}' in '{folder}' ({module.replace('.', '/')}.py){guess}"


def _missing_class(file: Path, name: str, folder: Path) -> str:
    """Return why a module lacks a class; empty if it has it, or if only running the module could show it."""
    shown = file.relative_to(folder)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as an invalid escape sequence in the user's code
            names = dict(_names(ast.parse(file.read_bytes())))
    except SyntaxError as error:
        return f"{shown}:{error.lineno or 1}: not Python: {error.msg}"
    except (ValueError, RecursionError, MemoryError):  # a NUL character, or too deeply nested
        return f"{shown}: not Python"
    if name in names or "*" in names:
        return ""
    classes = [found for found, is_class in names.items() if is_class]
    guess = did_you_mean(name, classes)
    if not guess:
        guess = f"; it has {_listed(classes)}" if classes else "; it defines none"
    return f"no class '{name}' in {shown}{guess}"


def _names(tree: ast.AST) -> Iterator[tuple[str, bool]]:
    """Yield the names that a module binds, without functions, and whether each is a class defined in it.

    `*` stands for the names of a star import.
    """
    for node in ast.iter_child_nodes(tree):
        match node:
            case ast.ClassDef():
                yield node.name, True
            case ast.Import() | ast.ImportFrom():
                for alias in node.names:
                    yield alias.asname or alias.name, False
            case ast.Name(ctx=ast.Store()):
                yield node.id, False
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
                pass  # names inside a function are local
            case _:
                yield from _names(node)


def _listed(names: list[str]) -> str:
    return ", ".join(names[:SHOWN_NAMES]) + (", ..." if len(names) > SHOWN_NAMES else "")
