"""An encoder and a decoder that both start from one model, as they are trained."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import transformers
from safetensors.torch import save_file
from torch import Tensor, nn

from embedder.checkpoint import Checkpoint
from embedder.encoders.network import HEADS, load_network, load_pretrained
from embedder.errors import ModelError
from embedder.heads.copying import CopyingModel, CopyLayer
from embedder.heads.protocol import HeadFile, HeadTask
from embedder.heads.text_generator import GenerateSettings, end_pieces, generation_config
from embedder.tokens import Pieces, Tokenizer
from embedder.training.encoder import copy_tokenizer, write_reading
from embedder.training.label_models import collate_labels
from embedder.training.pretraining.language_model import piece_scores
from embedder.training.run import IGNORED, Batch

DECODERS = ("bert", "roberta", "xlm-roberta", "camembert", "electra")


class Example(NamedTuple):
    """A text and its target.

    Args:
        source: pieces that are read, special tokens included.
        target: pieces that are written, without special tokens.
    """

    source: Pieces
    target: Pieces


def warm_start(
    checkpoint: Checkpoint, *, seed: int, tie: bool, copying: bool = False
) -> transformers.EncoderDecoderModel:
    """An encoder and a decoder that both begin with a model's weights.

    Args:
        checkpoint: the model.
        seed: of the weights that it does not have.
        tie: one table of word embeddings for both, and for the output.
        copying: whether pieces of what is read can be copied.

    Raises:
        ModelError: the model's kind cannot decode, or its weights cannot be loaded.
    """
    encoder: Any = load_network(checkpoint, checkpoint.spec()).transformer
    config = copy.deepcopy(encoder.config)
    if config.model_type not in DECODERS:
        raise ModelError(
            f"{checkpoint.name} is of the kind {config.model_type}, which has no decoder here.",
            f"Start from a model of one of the kinds {', '.join(DECODERS)}.",
        )
    config.is_decoder = config.add_cross_attention = True
    decoder: Any
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        decoder, info = load_pretrained(
            transformers.AutoModelForCausalLM, checkpoint.folder, torch.float32, config=config
        )
    prefix = f"{decoder.base_model_prefix}."
    lacking = sorted(
        key
        for key in info["missing_keys"]
        if "crossattention" not in key and not key.removeprefix(prefix).startswith(HEADS)
    )
    if lacking or info["mismatched_keys"]:
        raise ModelError(
            f"The model {checkpoint.name} lacks weights of a decoder: {', '.join(lacking[:6])}.",
            f"Start from a model of one of the kinds {', '.join(DECODERS)}.",
        )
    network: transformers.EncoderDecoderModel
    if copying:
        tokenizer = Tokenizer(checkpoint)
        unread = (*end_pieces(tokenizer), tokenizer.pad_id)
        network = CopyingModel(encoder=encoder, decoder=decoder)
        network.copy = CopyLayer(config.hidden_size, config.vocab_size, unread)
        network.copy.start()
    else:
        network = transformers.EncoderDecoderModel(encoder=encoder, decoder=decoder)
    if tie:
        decoder.set_input_embeddings(encoder.get_input_embeddings())
        decoder.tie_weights()
    return network


class GenerateModel(nn.Module):
    """An encoder and a decoder with the loss of the pieces that are to be written.

    Args:
        network: a transformers EncoderDecoderModel, which may be one that copies.
        checkpoint: the model that it started from, whose tokenizer is used.
        settings: how texts are written.
        max_tokens: pieces of a text that are read.
    """

    def __init__(
        self,
        network: transformers.EncoderDecoderModel,
        checkpoint: Checkpoint,
        settings: GenerateSettings,
        max_tokens: int,
    ) -> None:
        super().__init__()
        self.network, self.checkpoint = network, checkpoint
        self.settings, self.max_tokens = settings, max_tokens
        self.tokenizer = Tokenizer(checkpoint)
        self.start, self.end = end_pieces(self.tokenizer)

    def forward(
        self,
        piece_ids: Tensor,
        attention_mask: Tensor,
        target_ids: Tensor,
        target_mask: Tensor,
        labels: Tensor,
    ) -> dict[str, Tensor]:
        """The mean cross-entropy of the next pieces.

        Args:
            piece_ids: what is read, int64, shape (n, length).
            attention_mask: the same shape, 1 for a piece and 0 for padding.
            target_ids: what is written before each piece, shape (n, target_length).
            target_mask: the same shape as `target_ids`.
            labels: the pieces that come next, `IGNORED` for padding, the same shape.
        """
        decoder: Any = self.network.decoder
        read = self.network.encoder(input_ids=piece_ids, attention_mask=attention_mask)
        states = decoder.base_model(
            input_ids=target_ids,
            attention_mask=target_mask,
            encoder_hidden_states=read.last_hidden_state,
            encoder_attention_mask=attention_mask,
            use_cache=False,
        ).last_hidden_state
        is_next = labels != IGNORED
        scores = piece_scores(decoder, states[is_next])  # not of padding, which may be most
        if isinstance(self.network, CopyingModel):
            copy = self.network.copy
            outputs = copy(states, read.last_hidden_state, piece_ids)
            return {"loss": copy.loss(scores, labels, is_next, outputs, piece_ids)}
        return {"loss": nn.functional.cross_entropy(scores.float(), labels[is_next])}

    def collate(self, examples: Sequence[Example]) -> Batch:
        """Examples as a batch."""
        sources = [example.source for example in examples]
        read = self.tokenizer.batch(sources, max(map(len, sources)))
        before = [np.concatenate([[self.start], example.target]) for example in examples]
        length = max(map(len, before))
        written = self.tokenizer.batch(before, length)
        after = [[*example.target.tolist(), self.end] for example in examples]
        return {
            "piece_ids": torch.from_numpy(read.piece_ids),
            "attention_mask": torch.from_numpy(read.attention_mask),
            "target_ids": torch.from_numpy(written.piece_ids),
            "target_mask": torch.from_numpy(written.attention_mask),
            "labels": collate_labels(after, length),
        }

    def save(self, folder: Path, columns: Mapping[str, str]) -> None:
        """Write it as the folder of a head, which transformers opens as an EncoderDecoderModel
        (and then without copying)."""
        network = self.network
        config = generation_config(self.tokenizer, self.settings)
        for name in ("decoder_start_token_id", "eos_token_id", "pad_token_id"):
            setattr(network.config, name, getattr(config, name))
        network.config.architectures = [type(network).__name__]
        network.config.save_pretrained(folder)
        config.save_pretrained(folder)
        # Embeddings that are one table in training are written for the encoder and the decoder:
        # transformers knows of no such tie when it loads them. The output's it knows.
        known = set(network.decoder.all_tied_weights_keys)
        weights = {
            name: tensor.detach().cpu().clone().contiguous()
            for name, tensor in network.state_dict().items()
            if name.removeprefix("decoder.") not in known
        }
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        copy_tokenizer(self.checkpoint, folder)
        write_reading(self.checkpoint, folder, self.max_tokens)
        HeadFile(
            task=HeadTask.GENERATE,
            max_tokens=self.max_tokens,
            columns=columns,
            settings=self.settings.to_json(),
        ).write(folder)
