"""An encoder whose weights can be trained, and written as a model folder that all engines take."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from safetensors.torch import save_file
from torch import Tensor, nn

from embedder.checkpoint import Checkpoint, open_checkpoint
from embedder.encoders.network import SentenceNetwork, load_network, quiet_transformers
from embedder.specs import EncoderSpec, Pooling, TextKind
from embedder.tokens import Pieces, Tokenizer, plan_batches
from embedder.training.run import Batch
from embedder.vectors import Rows

EVALUATION_TOKENS = 8192
"""Padded tokens of a forward pass without gradients."""


class TrainableEncoder(nn.Module):
    """A checkpoint's network with its tokenizer.

    Args:
        checkpoint: the model folder that it starts from.
        spec: pooling, layers and window.
    """

    def __init__(self, checkpoint: Checkpoint, spec: EncoderSpec) -> None:
        super().__init__()
        self.checkpoint, self.spec = checkpoint, spec
        self.tokenizer = Tokenizer(checkpoint)
        self.network: SentenceNetwork = load_network(checkpoint, spec)

    @property
    def transformer(self) -> nn.Module:
        """The Hugging Face encoder in it."""
        return self.network.transformer

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def forward(self, piece_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Unit vectors (n_texts, width), and states of the pieces (n_texts, length, width)."""
        rows, states = self.network(piece_ids, attention_mask)
        return rows, states

    def pieces(self, texts: Sequence[str], kind: TextKind = TextKind.PASSAGE) -> list[Pieces]:
        """Piece ids of texts, cut off at the window, with the prompt of their kind before each."""
        is_query = kind is TextKind.QUERY
        prompt = self.spec.query_prompt if is_query else self.spec.passage_prompt
        most, pieces = self.spec.max_tokens, self.tokenizer.encode([prompt + t for t in texts])
        return [self.tokenizer.cut(ids, most) for ids in pieces]

    def collate(self, pieces: Sequence[Pieces]) -> Batch:
        """Tokenised texts as a batch, on the CPU: `piece_ids` and `attention_mask`, int64, shape
        (n_texts, longest)."""
        batch = self.tokenizer.batch(pieces, max(len(ids) for ids in pieces))
        return {
            "piece_ids": torch.from_numpy(batch.piece_ids),
            "attention_mask": torch.from_numpy(batch.attention_mask),
        }

    def collate_texts(self, texts: Sequence[str]) -> Batch:
        """Texts as a batch; see `collate`."""
        return self.collate(self.pieces(texts))

    def encode(
        self,
        texts: Sequence[str],
        kind: TextKind = TextKind.PASSAGE,
        *,
        batch_tokens: int = EVALUATION_TOKENS,
    ) -> Rows:
        """Unit vectors of texts as the network makes them now, float32, shape (n, width)."""
        return self.encode_pieces(self.pieces(texts, kind), batch_tokens=batch_tokens)

    @torch.no_grad()
    def encode_pieces(
        self, pieces: Sequence[Pieces], *, batch_tokens: int = EVALUATION_TOKENS
    ) -> Rows:
        """Unit vectors of tokenised texts; see `encode`."""
        rows = np.empty((len(pieces), self.spec.width), dtype=np.float32)
        for indices, length in plan_batches([len(ids) for ids in pieces], batch_tokens):
            batch = self.tokenizer.batch([pieces[i] for i in indices], length)
            found, _ = self(
                torch.from_numpy(batch.piece_ids).to(self.device),
                torch.from_numpy(batch.attention_mask).to(self.device),
            )
            rows[indices] = found.float().cpu().numpy()
        return rows

    def save(self, folder: Path) -> None:
        """Write it as a model folder, in the layout that the ecosystem shares.

        Args:
            folder: an empty folder.
        """
        save_transformer(self.transformer, self.checkpoint, folder)
        modules = [("Transformer", ""), ("Pooling", "1_Pooling")]
        _write_json(
            folder / "1_Pooling" / "config.json",
            {
                "word_embedding_dimension": self.checkpoint.hidden_width,
                **{f"pooling_mode_{name}": on for name, on in _modes(self.spec.pooling).items()},
            },
        )
        for number, (old, dense) in enumerate(
            zip(self.checkpoint.dense_folders, self.network.dense.children(), strict=True)
        ):
            name = f"{number + 2}_Dense"
            modules.append(("Dense", name))
            _write_json(folder / name / "config.json", json.loads(_read(old / "config.json")))
            weights = {f"linear.{k}": v for k, v in dense.get_submodule("0").state_dict().items()}
            save_file(_contiguous(weights), folder / name / "model.safetensors")
        modules.append(("Normalize", f"{len(modules)}_Normalize"))
        (folder / modules[-1][1]).mkdir()
        _write_json(
            folder / "modules.json",
            [
                {
                    "idx": i,
                    "name": str(i),
                    "path": path,
                    "type": f"sentence_transformers.models.{kind}",
                }
                for i, (kind, path) in enumerate(modules)
            ],
        )
        write_reading(self.checkpoint, folder, self.spec.max_tokens)
        prompts = {"query": self.spec.query_prompt, "passage": self.spec.passage_prompt}
        if any(prompts.values()):
            _write_json(
                folder / "config_sentence_transformers.json",
                {"prompts": {k: v for k, v in prompts.items() if v}},
            )


def open_trainable(model: str, *, max_tokens: int | None = None) -> TrainableEncoder:
    """Open a model to train it.

    Args:
        model: `default`, a model folder, or a name on the hub.
        max_tokens: window in tokens; None for what the folder says.

    Raises:
        ModelError: it cannot be found or loaded.
    """
    checkpoint = open_checkpoint(model)
    return TrainableEncoder(checkpoint, checkpoint.spec(max_tokens=max_tokens))


def save_transformer(transformer: nn.Module, checkpoint: Checkpoint, folder: Path) -> None:
    """Write a Hugging Face network with the tokenizer of the checkpoint that it came from.

    Args:
        transformer: the network; its own `config` is written.
        checkpoint: where the tokenizer's files are.
        folder: an empty folder.
    """
    with quiet_transformers(transformers):
        transformer.save_pretrained(folder)  # type: ignore[operator]
    copy_tokenizer(checkpoint, folder)


def copy_tokenizer(checkpoint: Checkpoint, folder: Path) -> None:
    """Put a checkpoint's tokenizer into a new model folder."""
    for path in (*checkpoint.tokenizer_files, *_tokenizer_settings(checkpoint)):
        if not (folder / path.name).exists():
            shutil.copyfile(path, folder / path.name)


def write_reading(checkpoint: Checkpoint, folder: Path, max_tokens: int) -> None:
    """Write what is done with a text before the network sees it, as sentence-transformers does."""
    _write_json(
        folder / "sentence_bert_config.json",
        {"max_seq_length": max_tokens, "do_lower_case": checkpoint.use_lower_case},
    )


def _tokenizer_settings(checkpoint: Checkpoint) -> list[Path]:
    names = ("tokenizer_config.json", "special_tokens_map.json", "vocab.txt")
    return [path for name in names if (path := checkpoint.folder / name).is_file()]


def _modes(pooling: Pooling) -> dict[str, bool]:
    names = {
        Pooling.CLS: "cls_token",
        Pooling.MEAN: "mean_tokens",
        Pooling.MAX: "max_tokens",
        Pooling.WEIGHTED: "weightedmean_tokens",
    }
    return {name: pooling is kind for kind, name in names.items()}


def _contiguous(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}


def _read(path: Path) -> str:
    return path.read_text("utf-8")


def _write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n", "utf-8")
