"""Which videos a text finds, and which of a video's frames is most like it.

Legend: Q texts, W tokens of a text, T frames, E channels.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from side4video.engine.process_group import ProcessGroup
from side4video.inference.video_index import Entry, FolderIndex
from side4video.tasks.retrieval.matching import Embeddings, MeanMatching, TightMatching
from side4video.tasks.retrieval.ranking import Search


@dataclass(frozen=True)
class Match:
    """A video that was found."""

    rank: int
    """From 1."""
    score: float
    """Its similarity with the text: a cosine or a mean of cosines; a logit where the matching is tight."""
    entry: Entry


@torch.no_grad()
def rank_videos(matching: Any, text: Embeddings, index: FolderIndex, *, top: int, process: ProcessGroup) -> list[Match]:
    """The most similar videos, best first; of equals the first by name, and what is no number last.

    The text and the index hold what `matching` keeps; tiles are compared as in an evaluation.
    """
    search = Search([], index.kept, matching.compare, process=process)
    similarities = torch.cat([tile[0].cpu() for _, tile in search.tiles(search.on_device(text))])
    order = similarities.nan_to_num(float("-inf")).argsort(descending=True, stable=True)[:top].tolist()
    return [Match(rank, float(similarities[row]), index.entries[row]) for rank, row in enumerate(order, 1)]


@torch.no_grad()
def frame_similarities(matching: Any, frames_TE: Tensor, words_QWE: Tensor, tokens_QW: Tensor) -> Tensor:
    """How alike a text and each frame alone are [T]: as if the frame were a video of its own.

    Blocks over text and frames together know no single frame: there it is the cosine of the text and the frame.
    """
    alone = MeanMatching(matching.tokenizer) if isinstance(matching, TightMatching) else matching
    frames = alone.embed_videos(frames_TE[:, None])
    return alone.compare(alone.embed_texts(words_QWE, tokens_QW), frames)[0]
