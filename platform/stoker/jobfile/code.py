"""The user's own code: its folder, the files that are shipped with a job, and checks of what a job names there."""

import ast
import os
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

from stoker.errors import JobError, Problem
from stoker.job.architecture.custom import Custom
from stoker.job.environment import Environment
from stoker.job.own_code import Entrypoint
from stoker.jobfile.suggestion import did_you_mean

FILE_LIMIT = 2000
SIZE_LIMIT_MB = 20
SETTINGS = (".toml", ".yaml", ".yml", ".json", ".ini", ".cfg")
SETTINGS_BYTES = 100_000
"""A larger file of settings counts as data."""
Bound = Mapping[str, ast.AST | None]
"""The names that a module binds, with the class or function that each is."""
SKIPPED = frozenset({"__pycache__", "node_modules", "build", "dist"})
SHOWN_NAMES = 20


def code_folder(code: Custom | Entrypoint | None, environment: Environment, base: Path) -> Path | None:
    """Return the absolute folder of a job's code; None if it has no code of its own.

    Args:
        code: what names the code; with it, the folder is `base` unless the job sets another.
        environment: of the job.
        base: folder of the job file.

    """
    if environment.code is None and code is None:
        return None
    named = base / os.path.expanduser(environment.code or "")  # noqa: PTH111  # keeps `~name` of an unknown user
    return Path(os.path.abspath(named))  # noqa: PTH100  # does not resolve symbolic links


def code_files(folder: Path) -> list[Path]:
    """Return the Python files and small files of settings below a job's code folder, sorted; they are shipped with it.

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
        files = [here / name for name in names if _is_code(here / name)]
        found += files
        size += sum(file.stat().st_size for file in files)
        if len(found) > FILE_LIMIT or size > SIZE_LIMIT_MB * 10**6:
            limit = f"{FILE_LIMIT:,} files" if len(found) > FILE_LIMIT else f"{SIZE_LIMIT_MB} MB"
            limit += " of code"
            cure = "set environment.code to a smaller folder"
            raise JobError([Problem("environment.code", f"more than {limit} below '{folder}'; {cure}")])
    return sorted(found)


def code_problems(code: Custom | Entrypoint | None, environment: Environment, folder: Path) -> list[Problem]:
    """Check that the folder of a job exists, and what it names there, without running any of its code."""
    key = "entrypoint" if isinstance(code, Entrypoint) else "architecture.class"
    try:
        if not folder.is_dir():
            fault = "is not a folder" if folder.exists() else "does not exist"
            shown = environment.code or str(folder)
            absolute = "" if shown == str(folder) else f" ({folder})"
            return [Problem("environment.code", f"'{shown}' {fault}{absolute}")]
        message = _problem(code, folder)
    except OSError as error:
        message = f"the code in '{folder}' cannot be read: {error.strerror}"
    return [Problem(key, message)] if message else []


def _is_code(file: Path) -> bool:
    """Return whether a file is Python's, or one of settings."""
    if file.suffix == ".py":
        return file.is_file()
    return file.suffix in SETTINGS and file.is_file() and file.stat().st_size <= SETTINGS_BYTES


def _skipped(folder: str) -> bool:
    return folder.startswith(".") or folder in SKIPPED


def _problem(code: Custom | Entrypoint | None, folder: Path) -> str:
    """Return what is wrong with the code that a job names; empty if nothing is."""
    match code:
        case Custom():
            module, _, name = code.class_name.partition(":")
            check = _class_problem
        case Entrypoint(function=(module, name)):
            check = _function_problem
        case Entrypoint():
            return _script_problem(folder, code.script[0])
        case None:
            return ""
    file = _module_file(folder, module)
    if file is None:
        return _missing_module(folder, module)
    shown = file.relative_to(folder)
    try:
        return check(dict(_bindings(_parsed(file))), name, shown)
    except ValueError as error:
        return f"{shown}{error}"


def _script_problem(folder: Path, script: str) -> str:
    if (folder / script).is_file():
        return ""
    near = (folder / script).parent
    names = sorted(str(file.relative_to(folder)) for file in near.glob("*.py")) if near.is_dir() else []
    return f"no script '{script}' in '{folder}'{did_you_mean(script, names) or _what_it_has(names)}"


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
    guess = guess or _what_it_has(names)
    return f"no module '{module}' in '{folder}' ({module.replace('.', '/')}.py){guess}"


def _class_problem(bound: Bound, name: str, shown: Path) -> str:
    """Return why a module lacks a class; empty if it has it, or if only running the module could show it."""
    if isinstance(bound.get(name), ast.ClassDef) or _decided_later(name, bound):
        return ""
    return _missing("class", name, shown, [found for found, node in bound.items() if isinstance(node, ast.ClassDef)])


def _function_problem(bound: Bound, name: str, shown: Path) -> str:
    """Return why a function cannot train; empty if it can, or if only running the module could show it."""
    match bound.get(name):
        case ast.FunctionDef() as function:
            return _signature_problem(function, shown)
        case ast.ClassDef() | ast.AsyncFunctionDef() as other:
            what = "a class" if isinstance(other, ast.ClassDef) else "a coroutine"
            return f"{shown}:{other.lineno}: '{name}' is {what}; a training function is written with def"
    if _decided_later(name, bound):
        return ""
    return _missing(
        "function", name, shown, [found for found, node in bound.items() if isinstance(node, ast.FunctionDef)]
    )


def _signature_problem(function: ast.FunctionDef, shown: Path) -> str:
    """Return what is wrong with the arguments of a training function; empty if nothing is."""
    arguments = function.args
    needed = len(arguments.posonlyargs) + len(arguments.args) - len(arguments.defaults)
    named = [each.arg for each, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if not default]
    if needed <= 1 and not named:
        return ""
    cure = "a training function takes one argument, its settings, or none"
    return f"{shown}:{function.lineno}: '{function.name}' needs {needed + len(named)} arguments; {cure}"


def _parsed(file: Path) -> ast.Module:
    """Parse a module.

    Raises:
        ValueError: it is not Python; the message begins with the line.

    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as an invalid escape sequence in the user's code
            return ast.parse(file.read_bytes())
    except SyntaxError as error:
        raise ValueError(f":{error.lineno or 1}: not Python: {error.msg}") from None
    except (ValueError, RecursionError, MemoryError):  # a NUL character, or too deeply nested
        raise ValueError(": not Python") from None


def _decided_later(name: str, bound: Bound) -> bool:
    """Return whether only running the module shows what a name is: an import, an assignment, or a star import."""
    return "*" in bound or (name in bound and bound[name] is None)


def _missing(what: str, name: str, shown: Path, known: list[str]) -> str:
    guess = did_you_mean(name, known) or _what_it_has(known) or "; it defines none"
    return f"no {what} '{name}' in {shown}{guess}"


def _bindings(tree: ast.AST) -> Iterator[tuple[str, ast.AST | None]]:
    """Yield the names that a module binds, with the class or function that each is; None for anything else.

    `*` stands for the names of a star import.
    """
    for node in ast.iter_child_nodes(tree):
        match node:
            case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
                yield node.name, node
            case ast.Import() | ast.ImportFrom():
                for alias in node.names:
                    yield alias.asname or alias.name, None
            case ast.Name(ctx=ast.Store()):
                yield node.id, None
            case ast.Lambda():
                pass  # names inside a function are local
            case _:
                yield from _bindings(node)


def _what_it_has(names: list[str]) -> str:
    shown = ", ".join(names[:SHOWN_NAMES]) + (", ..." if len(names) > SHOWN_NAMES else "")
    return f"; it has {shown}" if names else ""
