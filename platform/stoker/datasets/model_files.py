"""Files of a pretrained model: those of a folder, or of a model of the Hugging Face Hub, downloaded once."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from stoker.errors import JobError, Problem, StokerError, Unreachable

CONFIG, TOKENIZER, TOKENIZER_CONFIG = "config.json", "tokenizer.json", "tokenizer_config.json"
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
CHAT_TEMPLATE = "chat_template.jinja"
DESCRIPTIONS = [CONFIG, TOKENIZER, TOKENIZER_CONFIG, CHAT_TEMPLATE]
"""Files that a plan needs."""
SHARDS = "model*.safetensors"
OFFSET_TYPES = ("roberta", "xlm-roberta", "camembert", "xlm-roberta-xl", "longformer", "mpnet")
"""Types of model whose positions begin behind the number of the padding token."""
UNLIMITED = 10**9
"""Larger lengths in tokenizer_config.json stand for none."""
_PATH = re.compile(r"[/.~]|.*/.*/")
_HUB_NAME = re.compile(r"(?P<name>[\w.-]+(/[\w.-]+)?)(@(?P<revision>.+))?")
CHUNK = 1 << 20


def model_folder(model: str, key: str, weights: bool = False) -> Path:
    """Return the folder with the files of a model.

    Args:
        model: a folder, or the name of a model of the Hub.
        key: of the job, that names it.
        weights: whether they are needed, too.

    Raises:
        JobError: there is no such folder or model.
        Unreachable: the Hub refuses or does not answer.

    """
    folder = Path(model).expanduser()
    if folder.is_dir():
        return folder
    found = _HUB_NAME.fullmatch(model)
    if _PATH.match(model) or not found:
        message = f"there is no folder '{model}'; name one with {CONFIG}, or a model of the Hub as OWNER/NAME"
        raise JobError([Problem(key, message)])
    wanted = [*DESCRIPTIONS, *([SHARDS, INDEX] if weights else [])]
    return _downloaded(found["name"], found["revision"], wanted, key)


def pinned(model: str, folder: Path) -> str:
    """Return a name under which a model is found again as it is: an absolute path, or NAME@COMMIT."""
    if Path(model).expanduser().is_dir():
        return str(folder.absolute())
    return f"{model.partition('@')[0]}@{folder.name}"  # the cache names a snapshot by its commit


def read_tokenizer(model: str, key: str) -> str:
    """Return the content of a model's tokenizer.json.

    Raises:
        JobError: it has none.

    """
    file = model_folder(model, key) / TOKENIZER
    if not file.is_file():
        cure = "write it by AutoTokenizer.from_pretrained(...).save_pretrained(FOLDER), or name another model's folder"
        raise JobError([Problem(key, f"'{model}' has no {TOKENIZER}; {cure} in dataset.text.tokenizer")])
    return file.read_text(encoding="utf-8")


def most_tokens(model: str, key: str) -> int | None:
    """Return how many tokens a model reads at once; None if its files do not say."""
    folder = model_folder(model, key)
    config, tokens = _read(folder / CONFIG), _read(folder / TOKENIZER_CONFIG)
    positions = config.get("max_position_embeddings") or config.get("n_positions")
    if positions and config.get("model_type") in OFFSET_TYPES:
        positions -= (config.get("pad_token_id") or 0) + 1
    limits = [limit for limit in (positions, tokens.get("model_max_length")) if limit and 0 < limit < UNLIMITED]
    return min(map(int, limits), default=None)


def chat_template(model: str, key: str) -> tuple[str, tuple[tuple[str, str], ...], tuple[str, ...]] | None:
    """Return a model's chat template, the special tokens that it may name, and all special tokens; None without one."""
    folder = model_folder(model, key)
    settings, file = _read(folder / TOKENIZER_CONFIG), folder / CHAT_TEMPLATE
    source = file.read_text(encoding="utf-8") if file.is_file() else settings.get("chat_template")
    if isinstance(source, list):  # several by name
        source = next((each["template"] for each in source if each.get("name") == "default"), None)
    if not isinstance(source, str) or not source.strip():
        return None
    tokens = _read(folder / TOKENIZER).get("added_tokens", [])
    special = tuple(str(each["content"]) for each in tokens if each.get("special"))
    named = {name: settings.get(name) for name in ("bos_token", "eos_token", "pad_token", "unk_token")}
    texts = {name: each.get("content") if isinstance(each, dict) else each for name, each in named.items()}
    return source, tuple((name, text) for name, text in texts.items() if text), special


def end_number(model: str, key: str) -> int | None:
    """Return the number of the token that ends a text of a model; None if its files do not say."""
    ends = _read(model_folder(model, key) / CONFIG).get("eos_token_id")
    first: int | None = ends[0] if isinstance(ends, list) and ends else ends if isinstance(ends, int) else None
    return first


def weight_files(folder: Path) -> list[Path]:
    """Return the files of a model's weights; none if it has no safetensors."""
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    names = set(_read(folder / INDEX).get("weight_map", {}).values())
    files = [folder / name for name in sorted(names)]
    return files if all(file.is_file() for file in files) else []


def saved_names(folder: Path) -> frozenset[str]:
    """Return the names of the weights in a model's files; none if they are not there, or broken."""
    names: set[str] = set()
    for file in weight_files(folder):
        try:
            with safe_open(file, "pt") as content:
                names.update(content.keys())
        except SafetensorError:
            return frozenset()
    return frozenset(names)


def weights_digest(folder: Path) -> str:
    """Return the SHA-256 of a model's weights, of all files in the order of their names."""
    digest = hashlib.sha256()
    for path in weight_files(folder):
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
    return digest.hexdigest()


def _read(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _downloaded(name: str, revision: str | None, wanted: list[str], key: str) -> Path:
    """Return the folder of the Hub's cache with a model's files."""
    import huggingface_hub as hub  # half a second, which jobs without a pretrained model do not pay for

    try:
        return Path(hub.snapshot_download(name, revision=revision, allow_patterns=wanted))
    except (hub.errors.HfHubHTTPError, hub.errors.LocalEntryNotFoundError, OSError, ValueError) as error:
        raise _failure(hub.errors, error, name, revision, key) from error


def _failure(errors: Any, error: Exception, name: str, revision: str | None, key: str) -> StokerError:
    """Convert an error of the Hub's library to ours, with the cure."""
    login = "set HF_TOKEN or log in with `hf auth login`"
    match error:
        case errors.GatedRepoError():
            message = f"access to '{name}' is by request; ask for it at its page on the Hub, then {login}"
        case errors.RevisionNotFoundError():
            message = f"'{name}' has no revision '{revision}'; correct it or leave it out"
        case errors.RepositoryNotFoundError():
            message = f"there is no folder '{name}', and no model of this name on the Hub, or it is private; {login}"
        case errors.LocalEntryNotFoundError():
            cure = "name a folder with its files, or allow the network (HF_HUB_OFFLINE, HF_ENDPOINT)"
            cache = "it is not in the Hub's cache (HF_HOME)"
            message = f"there is no folder '{name}', {cache}, and the Hub is out of reach; {cure}"
        case errors.HfHubHTTPError():
            return Unreachable(f"{name}: the Hub answers {getattr(error.response, 'status_code', 0)}; try again later")
        case ValueError():
            message = f"'{name}' is neither a folder nor the name of a model of the Hub; write OWNER/NAME"
        case _:
            return Unreachable(f"{name}: the Hub does not answer ({error}); name a folder with the model's files")
    return JobError([Problem(key, message)])
