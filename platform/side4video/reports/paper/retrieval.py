"""Tables 3, 6, 7 and 8: text-video retrieval."""

from side4video.reports.paper.table import MEMORY, PERCENT, PaperColumn, PaperRow, PaperTable

_FULL, _FROZEN = "Full fine-tuning", "Frozen backbone"
_RANKS = ("r1", "r5", "r10", "median", "mean")
_METRICS = {"r1": "r1", "r5": "r5", "r10": "r10", "median": "median_rank", "mean": "mean_rank"}
_HEADINGS = {"r1": "R@1", "r5": "R@5", "r10": "R@10", "median": "MdR", "mean": "MnR"}
_TRICKS = "Without test-time tricks: no dual softmax, no query bank."


def _ranks(direction: str, heading: str = "") -> tuple[PaperColumn, ...]:
    return tuple(
        PaperColumn(
            key=f"{direction}_{name}",
            heading=f"{heading} {_HEADINGS[name]}".strip(),
            unit="%" if name.startswith("r") else "",
            metrics=(f"eval/{direction}_{_METRICS[name]}",),
            factor=PERCENT if name.startswith("r") else 1.0,
        )
        for name in _RANKS
    )


def _figures(direction: str, values: tuple[float | None, ...]) -> dict[str, float]:
    named = zip(_RANKS, values, strict=False)
    return {f"{direction}_{name}": value for name, value in named if value is not None}


def _row(
    group: str,
    method: str,
    texts: tuple[float | None, ...],
    videos: tuple[float | None, ...] = (),
    experiment: str = "",
) -> PaperRow:
    figures = {**_figures("t2v", texts), **_figures("v2t", videos)}
    return PaperRow(method, figures, group, experiments={"": experiment} if experiment else {})


TABLE_3 = PaperTable(
    name="table3",
    title="Table 3: memory of text-video retrieval on MSR-VTT",
    columns=(
        PaperColumn("memory", "memory", "G", ("memory/peak_gib", "plan/peak_memory_gib")),
        PaperColumn("t2v_r1", "R@1", "%", ("eval/t2v_r1",), PERCENT),
    ),
    rows=(
        PaperRow("CLIP4Clip", {"memory": 8.2, "t2v_r1": 43.1}, experiments={"": "msrvtt-clip4clip-vitb32"}),
        PaperRow(
            "CLIP4Clip, frozen tower",
            {"memory": 3.8, "t2v_r1": 40.0},
            experiments={"": "msrvtt-clip4clip-frozen-vitb32"},
        ),
        PaperRow("Side4Video", {"memory": 5.8, "t2v_r1": 44.2}, experiments={"": "msrvtt-vitb32"}),
    ),
    conventions=(
        "The table is captioned ViT-B/16, and its R@1 are the ViT-B/32 rows of Table 6; ours are B/32.",
        MEMORY,
    ),
)

TABLE_6 = PaperTable(
    name="table6",
    title="Table 6: MSR-VTT, 1k-A",
    columns=(*_ranks("t2v", "text to video"), *_ranks("v2t", "video to text")),
    rows=(
        _row(
            _FULL, "CLIP4Clip", (43.1, 70.4, 80.8, 2.0, 16.2), (43.1, 70.5, 81.2, 2.0, 12.4), "msrvtt-clip4clip-vitb32"
        ),
        _row(
            _FULL,
            "CLIP2Video",
            (45.6, 72.6, 81.7, 2.0, 14.6),
            (43.5, 72.3, 82.1, 2.0, 10.2),
            experiment="msrvtt-clip2video-vitb32",
        ),
        _row(_FULL, "STAN", (50.0, 75.2, 84.1, 1.5), experiment="msrvtt-stan-vitb16"),
        _row(
            _FULL,
            "Cap4Video",
            (51.4, 75.7, 83.9, 1.0, 12.4),
            (49.0, 75.2, 85.0, 2.0, 8.0),
            experiment="msrvtt-cap4video-vitb16",
        ),
        _row(
            _FROZEN,
            "CLIP4Clip, frozen tower",
            (40.0, 67.8, 78.4, 2.0, 17.7),
            (41.1, 68.9, 78.7, 2.0, 12.4),
            "msrvtt-clip4clip-frozen-vitb32",
        ),
        _row(_FROZEN, "CLIP-Prompt", (36.7, 64.6, 76.8, 2.0)),
        _row(_FROZEN, "CM Adapter", (45.4, 73.3, 82.3, None, 12.8), (46.2, 73.6, 83.8, None, 8.6)),
        _row(_FROZEN, "UniAdapter (BLIP-129M)", (50.5, 73.9, 81.7, 1.0), experiment="msrvtt-uniadapter-blip"),
        _row(_FROZEN, "Side4Video B/32", (44.2, 71.1, 81.0, 2.0, 15.1), (44.6, 72.3, 82.3, 2.0, 9.4), "msrvtt-vitb32"),
        _row(_FROZEN, "Side4Video B/16", (47.2, 73.8, 83.7, 2.0, 13.1), (46.6, 75.8, 84.3, 2.0, 7.9), "msrvtt-vitb16"),
        _row(_FROZEN, "Side4Video L/14", (51.4, 75.8, 84.5, 1.0, 12.5), (50.0, 77.1, 85.9, 1.5, 7.0), "msrvtt-vitl14"),
        _row(
            _FROZEN,
            "Side4Video E/14 (LAION-2B)",
            (52.3, 75.5, 84.2, 1.0, 12.8),
            (50.4, 77.4, 86.0, 1.5, 7.1),
            "msrvtt-vite14",
        ),
    ),
    conventions=(_TRICKS,),
)

TABLE_7 = PaperTable(
    name="table7",
    title="Table 7: MSVD, text to video",
    columns=_ranks("t2v"),
    rows=(
        _row(_FULL, "CLIP4Clip", (46.2, 76.1, 84.6, 2.0, 10.0), experiment="msvd-clip4clip-vitb32"),
        _row(_FULL, "STAN", (51.5, 80.4, 88.5, 1.0), experiment="msvd-stan-vitb16"),
        _row(_FULL, "Cap4Video", (51.8, 80.8, 88.3, 1.0, 8.3), experiment="msvd-cap4video-vitb16"),
        _row(
            _FROZEN, "CLIP4Clip, frozen tower", (43.8, 73.3, 82.7, 2.0, 11.1), experiment="msvd-clip4clip-frozen-vitb32"
        ),
        _row(_FROZEN, "CM Adapter", (47.4, 76.6, 85.0, None, 10.2)),
        _row(_FROZEN, "Side4Video B/32", (44.6, 74.9, 83.5, 2.0, 10.2), experiment="msvd-vitb32"),
        _row(_FROZEN, "Side4Video B/16", (49.0, 78.5, 86.7, 2.0, 9.1), experiment="msvd-vitb16"),
        _row(_FROZEN, "Side4Video L/14", (54.9, 82.1, 89.3, 1.0, 7.5), experiment="msvd-vitl14"),
        _row(_FROZEN, "Side4Video E/14", (56.1, 81.7, 88.8, 1.0, 8.4), experiment="msvd-vite14"),
    ),
    conventions=(_TRICKS,),
)

TABLE_8 = PaperTable(
    name="table8",
    title="Table 8: VATEX, text to video",
    columns=_ranks("t2v"),
    rows=(
        _row(_FULL, "CLIP2Video", (57.3, 90.0, 95.5, 1.0, 3.6), experiment="vatex-clip2video-vitb32"),
        _row(_FULL, "TS2-Net", (59.1, 90.0, 95.2, 1.0, 3.5), experiment="vatex-ts2-net-vitb32"),
        _row(_FULL, "Cap4Video", (66.6, 93.1, 97.0, 1.0, 2.7), experiment="vatex-cap4video-vitb16"),
        _row(
            _FROZEN, "CLIP4Clip, frozen tower", (55.7, 87.6, 93.8, 1.0, 4.2), experiment="vatex-clip4clip-frozen-vitb32"
        ),
        _row(_FROZEN, "CM Adapter", (59.3, 89.8, 95.2, None, 3.5)),
        _row(_FROZEN, "Side4Video B/32", (58.1, 89.2, 94.8, 1.0, 3.7), experiment="vatex-vitb32"),
        _row(_FROZEN, "Side4Video B/16", (61.7, 91.5, 96.0, 1.0, 3.1), experiment="vatex-vitb16"),
        _row(_FROZEN, "Side4Video L/14", (67.9, 93.9, 97.3, 1.0, 2.6), experiment="vatex-vitl14"),
        _row(_FROZEN, "Side4Video E/14", (68.8, 93.5, 97.0, 1.0, 2.7), experiment="vatex-vite14"),
    ),
    conventions=(_TRICKS,),
)
