"""Tiny models with random weights in the layout of real ones, for the real loading code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

WIDTH = 32
LAYERS = 2
POSITIONS = 64
SENTENCES = (
    "the bank of the river was green",
    "the bank raised its interest rates again",
    "a crane lifted the steel beam over the river",
    "interest in green energy is rising",
    "Die Würde des Menschen ist unantastbar",
)


def make_tokenizer(folder: Path, special: tuple[str, str, str, str] | None = None) -> Tokenizer:
    """A WordPiece tokenizer of a few words and all their letters: pad, unknown, start, end.

    Its vocabulary is listed, not trained: training breaks ties differently from run to run.
    """
    pad, unknown, start, end = special or ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
    words = sorted({word for text in SENTENCES for word in text.lower().split()})
    letters = [chr(code) for code in range(33, 127) if not chr(code).isupper()]
    pieces = [pad, unknown, start, end, "[MASK]", *letters, *("##" + c for c in letters), *words]
    vocabulary = {piece: i for i, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token=unknown))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens([pad, unknown, start, end, "[MASK]"])
    ids = [(start, tokenizer.token_to_id(start)), (end, tokenizer.token_to_id(end))]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{start} $A {end}", pair=f"{start} $A {end} $B {end}", special_tokens=ids
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    names = {"pad_token": pad, "unk_token": unknown, "cls_token": start, "sep_token": end}
    (folder / "tokenizer_config.json").write_text(
        json.dumps({**names, "mask_token": "[MASK]", "tokenizer_class": "PreTrainedTokenizerFast"})
    )
    return tokenizer


def make_model(folder: Path, kind: str = "bert", *, seed: int = 0, **changes: Any) -> Path:
    """A tiny model of a kind in `CONFIGS`, saved with its tokenizer; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = make_tokenizer(folder)
    torch.manual_seed(seed)
    config = CONFIGS[kind](tokenizer.get_vocab_size(), **changes)
    with torch.no_grad():
        model = transformers.AutoModel.from_config(config).eval()
        for parameter in model.parameters():
            if parameter.dim() > 1:  # larger than the usual start, so that texts differ
                parameter.mul_(4)
    model.save_pretrained(folder)
    return folder


def add_pooling(folder: Path, mode: str) -> Path:
    """Add sentence-transformers' modules.json with a pooling of the given mode."""
    modules = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    prefix = "sentence_transformers.models."
    content = [
        {"idx": i, "name": str(i), "path": path, "type": prefix + kind}
        for i, (path, kind) in enumerate(modules)
    ]
    (folder / "modules.json").write_text(json.dumps(content))
    (folder / "1_Pooling").mkdir(exist_ok=True)
    (folder / "2_Normalize").mkdir(exist_ok=True)
    values = {"word_embedding_dimension": WIDTH, f"pooling_mode_{mode}": True}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(values))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": POSITIONS - 4}))
    return folder


def _common(n_pieces: int, **changes: Any) -> dict[str, Any]:
    return {
        "vocab_size": n_pieces,
        "hidden_size": WIDTH,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "max_position_embeddings": POSITIONS,
        "pad_token_id": 0,
        **changes,
    }


def _bert(n_pieces: int, **changes: Any) -> Any:
    return transformers.BertConfig(**_common(n_pieces, **changes))


def _distilbert(n_pieces: int, **changes: Any) -> Any:
    return transformers.DistilBertConfig(
        vocab_size=n_pieces,
        dim=WIDTH,
        n_heads=4,
        hidden_dim=64,
        max_position_embeddings=POSITIONS,
        pad_token_id=0,
        **{"n_layers": LAYERS, **changes},
    )


def _roberta(n_pieces: int, **changes: Any) -> Any:
    return transformers.RobertaConfig(**_common(n_pieces, type_vocab_size=1, **changes))


def _mpnet(n_pieces: int, **changes: Any) -> Any:
    return transformers.MPNetConfig(**_common(n_pieces, **{"pad_token_id": 1, **changes}))


def _electra(n_pieces: int, **changes: Any) -> Any:
    return transformers.ElectraConfig(**_common(n_pieces, embedding_size=16, **changes))


def _modernbert(n_pieces: int, **changes: Any) -> Any:
    return transformers.ModernBertConfig(
        **_common(n_pieces, cls_token_id=2, sep_token_id=3, bos_token_id=2, eos_token_id=3)
        | changes
    )


CONFIGS = {
    "bert": _bert,
    "distilbert": _distilbert,
    "roberta": _roberta,
    "mpnet": _mpnet,
    "electra": _electra,
    "modernbert": _modernbert,
}
