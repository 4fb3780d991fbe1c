"""Zero-shot transfer, base-to-novel generalisation and few clips: figures of several papers, gathered by two of them.

FROSTER is Huang et al., ICLR 2024 (arXiv 2402.03241); ViFi-CLIP is Rasheed et al., CVPR 2023 (arXiv 2212.03640). The
figures are those of the tables in their repositories.
"""

from side4video.reports.paper.table import PERCENT, PaperColumn, PaperRow, PaperTable

_SETS = {"hmdb51": "HMDB51", "ucf101": "UCF101", "k600": "Kinetics-600"}
_FROSTER, _VIFI = "FROSTER", "ViFi-CLIP"


def _zero_shot(
    method: str, source: str, hmdb51: float | None, ucf101: float | None, k600: float | None, *, named: str = ""
) -> PaperRow:
    figures = dict(zip(_SETS, (hmdb51, ucf101, k600), strict=True))
    shown = {key: value for key, value in figures.items() if value is not None}
    return PaperRow(method, shown, details=(source,), experiments={"": f"zero-shot-{named}"} if named else {})


ZERO_SHOT = PaperTable(
    name="zero-shot",
    title="Zero-shot transfer: trained on Kinetics-400, evaluated on other data sets without training, ViT-B/16",
    short_title="Zero-shot transfer from Kinetics-400",
    details=("figures from",),
    columns=tuple(
        PaperColumn(key, heading, "%", (f"on/{key}/*/top1",), PERCENT, dataset="") for key, heading in _SETS.items()
    ),
    rows=(
        _zero_shot("Frozen CLIP", f"{_FROSTER} †", 47.9, 73.8, 68.1, named="k400-clip-vitb16"),
        _zero_shot("ActionCLIP", f"{_FROSTER} †", 48.2, 77.5, 62.5),
        _zero_shot("X-CLIP", _VIFI, 44.6, 72.0, 65.2),
        _zero_shot("Efficient-Prompt", _VIFI, 44.3, 69.3, 55.8),
        _zero_shot("AIM", f"{_FROSTER} †", 50.3, 79.4, 66.7, named="k400-aim-vitb16"),
        _zero_shot("ST-Adapter", f"{_FROSTER} †", 51.1, 77.6, 60.2, named="k400-st-adapter-vitb16"),
        _zero_shot("Vita-CLIP", _FROSTER, 48.6, 75.0, 67.4),
        _zero_shot("CLIP, image tower trained", _VIFI, 49.0, 72.9, 62.2, named="k400-full-vitb16"),
        _zero_shot("ViFi-CLIP, both towers trained", _VIFI, 51.3, 76.8, 71.2),
        _zero_shot("Open-VCLIP", _FROSTER, 53.9, 83.4, 73.0),
        _zero_shot("FROSTER", _FROSTER, 54.8, 84.8, 74.8),
        _zero_shot("Side4Video with texts", "", None, None, None, named="k400-side4video-vitb16"),
    ),
    conventions=(
        "Mean over three folds of HMDB51 and UCF101, and over three splits of 160 classes of Kinetics-600.",
        "Ours: side4video evaluate RUN --on FILE --as hmdb51/1, and so on for each fold.",
        "† computed by the authors of FROSTER with their own code.",
    ),
)

_PARTS = {"base": "eval/top1", "novel": "on/novel/top1", "harmonic": "on/novel/harmonic_mean"}


_HALVED = {
    "k400": "Kinetics-400",
    "hmdb51": "HMDB51",
    "ucf101": "UCF101",
    "ssv2": "Something-Something V2",
}
_BASE_NOVEL_MEAN = (
    ("Frozen CLIP", _FROSTER, (62.3, 53.4, 57.5), (53.3, 46.8, 49.8), (78.5, 63.6, 70.3), (4.9, 5.3, 5.1)),
    ("ActionCLIP", _FROSTER, (61.0, 46.2, 52.6), (69.1, 37.3, 48.5), (90.1, 58.1, 70.7), (13.3, 10.1, 11.5)),
    ("X-CLIP", _FROSTER, (74.1, 56.4, 64.0), (69.4, 45.5, 55.0), (89.9, 58.9, 71.2), (8.5, 6.6, 7.4)),
    ("Efficient-Prompt", _FROSTER, (69.7, 37.6, 48.8), (46.2, 16.0, 23.8), (90.5, 40.4, 55.8), (8.3, 5.3, 6.4)),
    ("AIM", f"{_FROSTER} †", (74.6, 62.5, 68.0), (64.0, 51.6, 57.1), (89.8, 76.4, 82.6), (8.5, 7.9, 8.2)),
    ("ST-Adapter", f"{_FROSTER} †", (73.6, 62.0, 67.3), (65.3, 48.9, 55.9), (85.5, 76.8, 80.9), (9.3, 8.4, 8.8)),
    ("CLIP, image tower trained", _VIFI, (72.9, 58.0, 64.6), (62.6, 47.5, 54.0), (86.4, 65.3, 74.4), (9.2, 8.5, 8.8)),
    (
        "ViFi-CLIP, both towers trained",
        _FROSTER,
        (76.4, 61.1, 67.9),
        (73.8, 53.3, 61.9),
        (92.9, 67.7, 78.3),
        (16.2, 12.1, 13.9),
    ),
    ("Open-VCLIP", _FROSTER, (76.5, 62.6, 68.9), (70.3, 50.4, 58.7), (94.8, 77.5, 85.3), (16.0, 11.0, 13.0)),
    ("FROSTER", _FROSTER, (77.8, 64.3, 70.4), (74.1, 58.0, 65.1), (95.3, 80.0, 87.0), (18.3, 12.2, 14.6)),
)
"""Method, source, and base, novel and harmonic mean on each data set of `_HALVED`."""


def _rows(place: int, key: str) -> tuple[PaperRow, ...]:
    """The rows of a data set, by its place in `_HALVED`."""

    def named(method: str) -> dict[str, str]:
        return {key: f"base-to-novel-{key}-{method}-vitb16"}

    quoted = tuple(
        PaperRow(
            method,
            dict(zip(_PARTS, figures[place], strict=True)),
            _HALVED[key],
            (source,),
            named("full") if method == "CLIP, image tower trained" else {},
        )
        for method, source, *figures in _BASE_NOVEL_MEAN
    )
    return (*quoted, PaperRow("Side4Video with texts", {}, _HALVED[key], ("",), named("side4video")))


BASE_TO_NOVEL = PaperTable(
    name="base-to-novel",
    title="Base-to-novel generalisation: 16 clips of each base class, evaluated on base and novel classes, ViT-B/16",
    short_title="Base-to-novel generalisation",
    details=("figures from",),
    columns=tuple(
        PaperColumn(key, heading, "%", (_PARTS[key],), PERCENT)
        for key, heading in (("base", "base"), ("novel", "novel"), ("harmonic", "harmonic mean"))
    ),
    rows=tuple(row for place, key in enumerate(_HALVED) for row in _rows(place, key)),
    conventions=(
        "Base classes are the half with more training clips; the figures are means over three seeds.",
        "Ours: side4video run FILE, then side4video evaluate RUN --set data.classes=novel.",
        "† computed by the authors of FROSTER with their own code.",
    ),
)

_SHOTS = (2, 4, 8, 16)
_BOTH, _PROMPTS = "ViFi-CLIP, both towers trained", "ViFi-CLIP of Kinetics-400, then prompts"
_FEW = (
    ("hmdb51", _BOTH, (57.2, 62.7, 64.5, 66.8)),
    ("hmdb51", _PROMPTS, (63.0, 65.1, 69.6, 72.0)),
    ("ucf101", _BOTH, (80.7, 85.1, 90.0, 92.7)),
    ("ucf101", _PROMPTS, (91.0, 93.7, 95.0, 96.4)),
    ("ssv2", _BOTH, (6.2, 7.4, 8.5, 12.4)),
    ("ssv2", _PROMPTS, (6.7, 7.9, 10.2, 13.5)),
)
"""Data set, method, and top-1 with each number of clips."""


def _few_rows(key: str) -> tuple[PaperRow, ...]:
    quoted = tuple(
        PaperRow(method, dict(zip(map(str, _SHOTS), figures, strict=True)), _HALVED[key], (_VIFI,))
        for dataset, method, figures in _FEW
        if dataset == key
    )
    named = {key: f"few-shot-{key}-side4video-vitb16"} if key != "ssv2" else {}
    return (*quoted, *([PaperRow("Side4Video with texts", {}, _HALVED[key], ("",), named)] if named else []))


FEW_SHOT = PaperTable(
    name="few-shot",
    title="Few-shot learning: trained on a few clips of each class, ViT-B/16",
    short_title="Few-shot learning",
    details=("figures from",),
    columns=tuple(
        PaperColumn(str(shots), f"{shots} clips", "%", ("eval/top1",) if shots == _SHOTS[-1] else (), PERCENT)
        for shots in _SHOTS
    ),
    rows=tuple(row for key in ("hmdb51", "ucf101", "ssv2") for row in _few_rows(key)),
    conventions=(
        "The first fold of HMDB51 and UCF101. Theirs are trained on lists of clips; ours are drawn with data.seed.",
        "Ours has the figure of 16 clips here. Of 2 to 16: side4video sweep few-shot/few-shot-hmdb51, then "
        "side4video report few-shot --sweep few-shot-hmdb51.",
    ),
)
