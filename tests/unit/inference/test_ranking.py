"""Ranking, and the frame that is most like a text."""

import torch
from torch.nn import functional as F

from side4video.engine.process_group import ProcessGroup
from side4video.inference.ranking import frame_similarities, rank_videos
from side4video.inference.video_folder import VideoFile
from side4video.inference.video_index import Entry, FolderIndex
from side4video.models.towers.tokenizer import TextTokenizer
from side4video.tasks.retrieval.matching import MeanMatching, TokenMatching

CLIPS = TextTokenizer({})
"""CLIP's own tokenizer."""
TOKENS_QW = torch.tensor([[1, 5, 9, 0]])


def index_of(kept):
    return FolderIndex([Entry(VideoFile(f"{n:03d}", 1, 1), None) for n in range(len(kept[0]))], kept)


def ranked(index, text, top=10, matching=None):
    found = rank_videos(matching or MeanMatching(CLIPS), text, index, top=top, process=ProcessGroup())
    return [(each.rank, int(each.entry.file.name)) for each in found], [each.score for each in found]


def test_best_first_equals_by_name_and_no_number_last():
    kept = torch.tensor([[0.5, 0.0], [float("nan"), 0.0], [1.0, 0.0], [0.5, 0.0], [-1.0, 0.0]])
    order, scores = ranked(index_of((kept,)), (torch.tensor([[1.0, 0.0]]),))
    assert order == [(1, 2), (2, 0), (3, 3), (4, 4), (5, 1)]
    assert scores[:4] == [1.0, 0.5, 0.5, -1.0]
    assert ranked(index_of((kept,)), (torch.tensor([[1.0, 0.0]]),), top=2)[0] == [(1, 2), (2, 0)]


def test_more_videos_than_a_tile_holds():
    torch.manual_seed(0)
    matching = TokenMatching(16, CLIPS, weighted=True, padding="ignored")
    index = index_of(matching.embed_videos(torch.randn(600, 3, 16)))
    text = matching.embed_texts(torch.randn(1, 4, 16), TOKENS_QW)
    with torch.no_grad():
        expected = matching.compare(text, index.kept)[0].argsort(descending=True, stable=True)
    assert [place for _, place in ranked(index, text, 600, matching)[0]] == expected.tolist()


def test_the_frame_that_a_text_is_about():
    torch.manual_seed(0)
    frames_TE, words_QWE = torch.randn(5, 16), torch.randn(1, 4, 16)
    frames_TE[3] = words_QWE[0, 2] * 2 + 0.1 * torch.randn(16)
    for matching in (MeanMatching(CLIPS), TokenMatching(16, CLIPS, weighted=False, padding="ignored")):
        assert int(frame_similarities(matching, frames_TE, words_QWE, TOKENS_QW).argmax()) == 3
    alone = frame_similarities(MeanMatching(CLIPS), frames_TE, words_QWE, TOKENS_QW)
    assert torch.allclose(alone, F.cosine_similarity(frames_TE, words_QWE[:, 2]), atol=1e-6)
