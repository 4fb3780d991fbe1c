"""Texts as tokens: CLIP's own tokenizer, or a Hugging Face one as open_clip uses it for SigLIP, CLIPA and MetaCLIP 2.

Legend: Q texts, W tokens of a text.
"""

from collections.abc import Mapping, Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from side4video.core.errors import InputError
from side4video.core.paths import expand

WHERE = "backbone.tokenizer"
"""The field of the tokenizer's folder in an experiment."""


class TextTokenizer:
    """The tokens of texts, where each text ends, and where its feature is read.

    Nothing is loaded before the first text.

    A tokenizer of CLIP marks the end by its largest id, and the feature is read there. SigLIP and CLIPA read it at the
    last position, behind the padding; MetaCLIP 2 at an end token; BLIP at the first one.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        """The tokenizer of a model.

        `config` is open_clip's configuration of the model; its `tokenizer` is a folder with the tokenizer's files.
        """
        text = config.get("text_cfg", {})
        self.name = text.get("hf_tokenizer_name") or ""
        self.folder = config.get("tokenizer", "")
        self.options = dict(text.get("tokenizer_kwargs") or {})
        self.pool_type = text.get("pool_type", "argmax")
        self.end_id = text.get("eos_id", 2)

    def __call__(self, texts: Sequence[str], *, words: int) -> Tensor:
        """Tokens [Q, W] of texts, start and end included; longer texts are cut before the end token.

        Raises:
            InputError: The files of the tokenizer are not on this machine and cannot be downloaded, or the library that
                reads them is not installed.
        """
        if not self.name:
            return _clip_tokenizer()(list(texts), context_length=words)
        return self._loaded(list(texts), context_length=words)

    def ends(self, tokens_QW: Tensor) -> Tensor:
        """The position [Q] of each text's last token; tokens behind it are padding."""
        if not self.name:
            return tokens_QW.argmax(dim=-1)
        if self.pool_type == "eos":
            return self._ends_by_id(tokens_QW)
        last = tokens_QW.shape[1] - 1
        if "_loaded" not in self.__dict__:  # a dry run's tokens, which are not a text's
            return torch.full((len(tokens_QW),), last, device=tokens_QW.device)
        library = self._loaded.tokenizer
        texts_Q = (tokens_QW != library.pad_token_id).sum(dim=-1)
        # SigLIP pads with its end token, and the first one is the end.
        return (texts_Q - int(library.pad_token_id != library.eos_token_id)).clamp(0, last)

    def feature_positions(self, tokens_QW: Tensor) -> Tensor:
        """The position [Q] whose output is a text's feature."""
        if self.pool_type == "first":
            return torch.zeros(len(tokens_QW), dtype=torch.int64, device=tokens_QW.device)
        if self.pool_type == "last":
            return torch.full((len(tokens_QW),), tokens_QW.shape[1] - 1, device=tokens_QW.device)
        return self._ends_by_id(tokens_QW) if self.pool_type == "eos" else tokens_QW.argmax(dim=-1)

    def is_empty(self, text: str) -> bool:
        """Whether a text has no word that the tokenizer knows."""
        tokens = self([text, ""], words=8)
        return torch.equal(tokens[0], tokens[1])

    def count(self, text: str, *, most: int) -> int:
        """Tokens of a text, start and end included, up to `most`."""
        removed = int(bool(self.options.get("strip_sep_token")))  # CLIPA's end token is replaced by padding
        return int(self.ends(self([text], words=most))[0]) + 1 + removed

    def _ends_by_id(self, tokens_QW: Tensor) -> Tensor:
        return (tokens_QW == self.end_id).int().argmax(dim=-1)

    @cached_property
    def _loaded(self) -> Any:
        from open_clip.tokenizer import HFTokenizer

        folder = expand(self.folder, WHERE) if self.folder else ""
        if folder and not Path(folder).is_dir():
            raise InputError(
                WHERE, f"{folder} is no folder", allowed="a folder with tokenizer.json or the like", fix="correct it"
            )
        try:
            return HFTokenizer(folder or self.name, **self.options)
        except ModuleNotFoundError as error:
            raise InputError(
                "backbone.model",
                f"its texts are read by the tokenizer {self.name}, and {error.name} is not installed",
                fix="pip install 'side4video[transformers]'",
            ) from error
        except Exception as error:  # the hub, its client and the tokenizers raise different types
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise InputError(
                WHERE,
                f"the tokenizer {folder or self.name} cannot be read ({reason})",
                allowed="a folder with the tokenizer's files, or a tokenizer that can be downloaded",
                fix=f"where there is a network: hf download {self.name} --include 'tokenizer*' 'special*' "
                f"--local-dir FOLDER; then {WHERE}: FOLDER",
            ) from error


@cache
def _clip_tokenizer() -> Any:
    from open_clip.tokenizer import SimpleTokenizer

    return SimpleTokenizer()
