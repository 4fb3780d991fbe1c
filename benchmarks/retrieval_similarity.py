"""Similarities and ranks of N captions and N videos, as an evaluation computes them, and what they take.

    python benchmarks/retrieval_similarity.py [--pairs 20000] [--compared all] [--threads 2] [--sample 100] [--no-save]

On a CPU: random features of 32 words and 12 frames, 512 channels, kept in fp16, compared token-wise with learnt weights
(section 3.4). A process of its own holds the features, compares and ranks; its peak resident memory counts from the
interpreter's start, and the bound is 2 GiB. The plain double loop, one caption and one video at a time, is timed in the
same process on a sample of them, compared number by number, and scaled by the number of pairs. Quote the ratio: times
are the machine's. `--compared N` compares the first N captions alone, with all videos, while all features are there:
the same memory in less time. Progress is on stderr. Writes benchmarks/results/retrieval-similarity.json.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from types import SimpleNamespace

import torch
from torch import Tensor
from torch.nn import functional as F

from side4video.core.units import format_bytes
from side4video.engine.process_group import ProcessGroup
from side4video.models.towers.tokenizer import TextTokenizer
from side4video.tasks.retrieval.matching import TokenMatching
from side4video.tasks.retrieval.pair_scores import PairEvaluation, PairScores
from side4video.tasks.retrieval.spec import NoRescoring

WORDS, FRAMES, CHANNELS = 32, 12, 512
BATCH = 32
LIMIT_BYTES = 2 << 30
BEGIN, END = 49406, 49407
_told = [0.0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=20_000, help="Videos, each with one caption.")
    parser.add_argument("--compared", type=int, default=0, help="Captions that are compared; 0: all of them.")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--sample", type=int, default=100, help="Captions and videos of the double loop.")
    parser.add_argument("--no-save", action="store_true")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(arguments)))
        return
    options = ["--pairs", str(arguments.pairs), "--compared", str(arguments.compared)]
    options += ["--threads", str(arguments.threads), "--sample", str(arguments.sample)]
    command = [sys.executable, __file__, "--measure", *options]
    answer = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    figures = json.loads(answer.stdout)
    show(figures)
    record = {
        "what": "comparing and ranking all captions with all videos; random features, token-wise with learnt weights",
        "command": f"python benchmarks/retrieval_similarity.py {' '.join(options)}",
        "words": WORDS,
        "frames": FRAMES,
        "channels": CHANNELS,
        "kept": "fp16",
        "batch": BATCH,
        "threads": arguments.threads,
        **figures,
    }
    if not arguments.no_save:
        import bench  # its imports are no part of what is measured

        print(f"wrote {bench.save('retrieval-similarity', record)}")
    if figures["peak_bytes"] > LIMIT_BYTES:
        sys.exit(f"the peak is over {format_bytes(LIMIT_BYTES)}")


def measure(arguments: argparse.Namespace) -> dict[str, float | int]:
    """Everything, in this process."""
    torch.set_num_threads(arguments.threads)
    torch.set_flush_denormal(True)
    torch.manual_seed(0)
    at_start = peak_bytes()
    matching = TokenMatching(CHANNELS, TextTokenizer({}), weighted=True, padding="ignored").eval().requires_grad_(False)
    scores = keep(matching, arguments.pairs)
    compared = arguments.compared or arguments.pairs
    loop_s, difference = double_loop(matching, scores, sample=min(arguments.sample, arguments.pairs))
    waiting = []
    for batch in scores.batches[-(-compared // BATCH) :]:
        waiting.append(batch.texts)  # held, and not compared
        batch.owners_Q, batch.captions = batch.owners_Q[:0], ()
    compared = min(arguments.pairs, -(-compared // BATCH) * BATCH)
    started = time.perf_counter()
    found: PairEvaluation = scores.compute(ProcessGroup())
    seconds = time.perf_counter() - started
    pairs = compared * arguments.pairs
    return {
        "captions": arguments.pairs,
        "captions_compared": compared,
        "held_beside_bytes": sum(each.nbytes for texts in waiting for each in texts),
        "videos": found.videos,
        "seconds": seconds,
        "pairs_per_s": pairs / seconds,
        "seconds_of_all_captions": seconds * arguments.pairs / compared,
        "peak_bytes": peak_bytes(),
        "peak_before_bytes": at_start,
        "limit_bytes": LIMIT_BYTES,
        "sample": min(arguments.sample, arguments.pairs),
        "double_loop_s_a_pair": loop_s,
        "double_loop_over_ours": loop_s * pairs / seconds,
        "largest_difference": difference,
        "t2v_r1": found.metrics["t2v_r1"],
    }


def keep(matching: TokenMatching, pairs: int) -> PairScores:
    """Random captions and videos, batch by batch, as an evaluation keeps them; a pair has something in common."""
    module = SimpleNamespace(matching=matching, scale=lambda: torch.tensor(100.0))
    task = SimpleNamespace(rescoring=NoRescoring(), keep="fp16", bank=())
    scores = PairScores(module, task, videos=pairs, report_progress=tell)
    for first in range(0, pairs, BATCH):
        count = min(BATCH, pairs - first)
        common_B1E = torch.randn(count, 1, CHANNELS)
        words_BWE = torch.randn(count, WORDS, CHANNELS) + 0.1 * common_B1E
        frames_BTE = torch.randn(count, FRAMES, CHANNELS) + 0.1 * common_B1E
        kept = matching.embed_texts(words_BWE, tokens(count)), matching.embed_videos(frames_BTE)
        targets = SimpleNamespace(owners_Q=torch.arange(count), captions=("",) * count)
        scores.add(kept, targets, SimpleNamespace(indices_B=torch.arange(first, first + count)))
        tell("making features", first + count, pairs)
    return scores


def tokens(count: int) -> Tensor:
    """Texts of 5 to all words."""
    ends_B1 = torch.randint(4, WORDS, (count, 1))
    places_W = torch.arange(WORDS)
    found_BW = torch.where(places_W < ends_B1, 1, 0)
    return torch.where(places_W == ends_B1, END, found_BW).index_fill(1, torch.tensor([0]), BEGIN)


@torch.no_grad()
def double_loop(matching: TokenMatching, scores: PairScores, *, sample: int) -> tuple[float, float]:
    """Seconds a pair, one caption with one video at a time; and how far its similarities are from the blocked ones."""
    batches = scores.batches[: -(-sample // BATCH)]
    texts = [torch.cat(each)[:sample] for each in zip(*(batch.texts for batch in batches), strict=True)]
    videos = [torch.cat(each)[:sample] for each in zip(*(batch.videos for batch in batches), strict=True)]
    words, of_words, is_word = texts[0].float(), texts[1].float(), texts[2]
    frames, of_frames = videos[0].float(), videos[1].float()
    found = torch.empty(sample, sample)
    started = time.perf_counter()
    for text in range(sample):
        for video in range(sample):
            cosines_WT = F.normalize(words[text][is_word[text]], dim=-1) @ F.normalize(frames[video], dim=-1).t()
            by_words = (cosines_WT.amax(dim=1) * of_words[text][is_word[text]]).sum()
            by_frames = (cosines_WT.amax(dim=0) * of_frames[video]).sum()
            found[text, video] = (by_words + by_frames) / 2
        tell("one pair at a time, captions", text + 1, sample)
    seconds = (time.perf_counter() - started) / sample**2
    blocked = matching.compare((words, of_words, is_word), (frames, of_frames))
    return seconds, float((blocked - found).abs().max())


def peak_bytes() -> int:
    """Resident memory of this process at most, so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # never less than that of the process that began this
    return peak if sys.platform == "darwin" else peak * 1024


def tell(what: str, done: int, whole: int) -> None:
    """Progress: a line that is written over, once a second."""
    now = time.monotonic()
    if done < whole and now - _told[0] < 1:
        return
    _told[0] = now
    print(f"\r{what}: {done} of {whole} ", end="\n" if done == whole else "", file=sys.stderr, flush=True)


def show(figures: dict[str, float | int]) -> None:
    """The figures in words."""
    print(
        f"{figures['captions_compared']} of {figures['captions']} captions x {figures['videos']} videos in "
        f"{figures['seconds']:.1f} s "
        f"({figures['pairs_per_s'] / 1e3:.0f} thousand pairs a second), "
        f"peak {format_bytes(int(figures['peak_bytes']))} of {format_bytes(LIMIT_BYTES)} "
        f"(before it began: {format_bytes(int(figures['peak_before_bytes']))})"
    )
    print(
        f"the double loop, {figures['sample']} x {figures['sample']} of them scaled by pairs: "
        f"{figures['double_loop_over_ours']:.1f} times as long; "
        f"similarities differ by {figures['largest_difference']:.1e}"
    )


if __name__ == "__main__":
    main()
