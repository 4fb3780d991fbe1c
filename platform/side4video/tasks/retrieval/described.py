"""Cap4Video's similarity (Wu et al., 2023, arXiv 2301.00184): of a text with a video, and with sentences about it.

Legend: B videos, T frames, M sentences, Q texts, W tokens of a text, E channels.
"""

from torch import Tensor, nn

from side4video.models.towers.text_tower import TextTower
from side4video.tasks.retrieval.matching import Embeddings, MeanMatching, TokenMatching
from side4video.tasks.retrieval.summed import weighted_sum


class DescribedMatching(nn.Module):
    """A token-wise similarity with the frames, and the cosine with the mean of the sentences."""

    is_scaled = True

    def __init__(self, text: TextTower, *, frames: int, share: float) -> None:
        """`share` is that of the sentences; the first `frames` features of a video are of frames."""
        super().__init__()
        self.tokenizer, self.number_of_frames = text.tokenizer, frames
        self.shares = (1 - share, share)
        self.frames = TokenMatching(text.output_dim, text.tokenizer, weighted=True, padding="zero")
        self.sentences = MeanMatching(text.tokenizer, normalizes_frames=False)

    def embed_videos(self, frames_BTE: Tensor, mask_BT: Tensor | None = None) -> Embeddings:
        """Normalised frames, their weights and their mask [B, T, E], [B, T], [B, T]; the mean sentence [B, E].

        `frames_BTE` are the features of frames, then those of sentences, [B, T + M, E].
        """
        mask_BT = frames_BTE.new_ones(frames_BTE.shape[:2]).bool() if mask_BT is None else mask_BT
        cut = self.number_of_frames
        frames = self.frames.embed_videos(frames_BTE[:, :cut], mask_BT[:, :cut])
        return *frames, *self.sentences.embed_videos(frames_BTE[:, cut:], mask_BT[:, cut:])

    def embed_texts(self, words_QWE: Tensor, tokens_QW: Tensor) -> Embeddings:
        """Normalised words, their weights and their mask; the text's normalised feature [Q, E]."""
        return (
            *self.frames.embed_texts(words_QWE, tokens_QW),
            *self.sentences.embed_texts(words_QWE, tokens_QW),
        )

    def compare_each(self, texts: Embeddings, videos: Embeddings) -> tuple[Tensor, ...]:
        """Similarities [Q, B] with the frames and with the sentences."""
        return self.frames.compare(texts[:-1], videos[:-1]), self.sentences.compare(texts[-1:], videos[-1:])

    def compare(self, texts: Embeddings, videos: Embeddings) -> Tensor:
        """The sum of both [Q, B]."""
        return weighted_sum(self.shares, self.compare_each(texts, videos))
