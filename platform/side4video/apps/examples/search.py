"""What queries of an evaluation found: its videos ranked once more, and the frames of those that are shown.

Legend: V videos.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from side4video.apps.examples.queries import Example, FoundVideo, Query
from side4video.core.progress import Progress
from side4video.data.clip import Clip
from side4video.data.storage import common_root, relative_path
from side4video.inference.retrieval import RetrievalModel, TextQuery
from side4video.tasks.retrieval.matching import Embeddings
from side4video.tasks.retrieval.ranking import Search


class VideoGallery:
    """All test videos of a run, as its matching keeps them."""

    def __init__(self, encoder: RetrievalModel, clips: Sequence[Clip], progress: Progress) -> None:
        """Read the videos.

        `clips` is the list that the positions of queries point into.
        """
        self._encoder, self.clips, self.names = encoder, clips, readable_names(clips)
        self.places, kept = encoder.embed_clips(clips, progress)
        self._search = _search(encoder, kept)

    def find(self, query: Query, *, top: int) -> Example:
        """The first videos that a query finds, and its own one.

        A video that is as alike as the query's own one stands before it, for ties count against the model.

        Raises:
            ValueError: Its own video could not be read.
        """
        text_query = self._encoder.read_caption(query.caption)
        similarities_V = self.similarities(text_query)
        own = self.places.index(query.clip)
        keyed = similarities_V.nan_to_num(float("-inf")).tolist()
        order = sorted(range(len(keyed)), key=lambda row: (-keyed[row], row == own, self.places[row]))
        shown = list(dict.fromkeys([*order[:top], own]))
        clips = [self.clips[self.places[row]] for row in shown]
        frames = self._encoder.frames_of_clips(clips, text_query)
        found = []
        for number, row in enumerate(shown):
            seen = frames.get(number)
            found.append(
                FoundVideo(
                    rank=order.index(row) + 1,
                    score=float(similarities_V[row]),
                    clip=self.places[row],
                    name=self.names[self.places[row]],
                    is_own=row == own,
                    frames_THWC=None if seen is None else seen.frames_TCHW.permute(0, 2, 3, 1).numpy(),
                    similarities_T=() if seen is None else tuple(seen.similarities_T.tolist()),
                )
            )
        return Example(query, tuple(found))

    @torch.no_grad()
    def similarities(self, query: TextQuery) -> Tensor:
        """Of a text and all videos [V], in the tiles that an evaluation compares in."""
        tiles = self._search.tiles(self._search.on_device(query.kept))
        return torch.cat([tile_QC[0].cpu() for _, tile_QC in tiles])


def readable_names(clips: Sequence[Clip]) -> list[str]:
    """Each clip's path below the folder that all are in, with its span where it has one."""
    root = common_root([clip.path for clip in clips])
    names = []
    for clip in clips:
        name = clip.name or relative_path(clip.path, root)
        times = [f"{time:g}" if time is not None else "" for time in (clip.start_seconds, clip.end_seconds)]
        names.append(f"{name} ({times[0] or 0}–{times[1]} s)" if any(times) else name)
    return names


def _search(encoder: RetrievalModel, kept: Embeddings) -> Search:
    return Search([], kept, encoder.matching.compare, process=encoder.process)
