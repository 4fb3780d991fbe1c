"""The pretrained weights that open_clip offers, by model, so that a wrong tag is found without a download.

Only tags whose activation is the model's: open_clip lists `openai` under `ViT-B-16` too, computes GELU there with
weights that were trained with QuickGELU, and merely warns.
"""

from collections.abc import Mapping

from side4video.models.backbones.shape import CLIP_MEAN, CLIP_STD, Channels

PRETRAINED_TAGS: Mapping[str, tuple[str, ...]] = {
    "ViT-B-32": (
        "laion2b_e16",
        "laion2b_s34b_b79k",
        "datacomp_xl_s13b_b90k",
        "datacomp_m_s128m_b4k",
        "commonpool_m_clip_s128m_b4k",
        "commonpool_m_laion_s128m_b4k",
        "commonpool_m_image_s128m_b4k",
        "commonpool_m_text_s128m_b4k",
        "commonpool_m_basic_s128m_b4k",
        "commonpool_m_s128m_b4k",
        "datacomp_s_s13m_b4k",
        "commonpool_s_clip_s13m_b4k",
        "commonpool_s_laion_s13m_b4k",
        "commonpool_s_image_s13m_b4k",
        "commonpool_s_text_s13m_b4k",
        "commonpool_s_basic_s13m_b4k",
        "commonpool_s_s13m_b4k",
    ),
    "ViT-B-32-quickgelu": ("openai", "laion400m_e31", "laion400m_e32", "metaclip_400m", "metaclip_fullcc"),
    "ViT-B-32-256": ("datacomp_s34b_b86k",),
    "ViT-B-16": (
        "laion400m_e31",
        "laion400m_e32",
        "laion2b_s34b_b88k",
        "datacomp_xl_s13b_b90k",
        "datacomp_l_s1b_b8k",
        "commonpool_l_clip_s1b_b8k",
        "commonpool_l_laion_s1b_b8k",
        "commonpool_l_image_s1b_b8k",
        "commonpool_l_text_s1b_b8k",
        "commonpool_l_basic_s1b_b8k",
        "commonpool_l_s1b_b8k",
    ),
    "ViT-B-16-quickgelu": ("openai", "dfn2b", "metaclip_400m", "metaclip_fullcc"),
    "ViT-B-16-plus-240": ("laion400m_e31", "laion400m_e32"),
    "ViT-L-14": (
        "laion400m_e31",
        "laion400m_e32",
        "laion2b_s32b_b82k",
        "datacomp_xl_s13b_b90k",
        "commonpool_xl_clip_s13b_b90k",
        "commonpool_xl_laion_s13b_b90k",
        "commonpool_xl_s13b_b90k",
        "dfn2b_s39b",
    ),
    "ViT-L-14-quickgelu": ("openai", "metaclip_400m", "metaclip_fullcc", "dfn2b"),
    "ViT-L-14-336": (),
    "ViT-L-14-336-quickgelu": ("openai",),
    "ViT-H-14": ("laion2b_s32b_b79k", "metaclip_altogether"),
    "ViT-H-14-quickgelu": ("metaclip_fullcc", "dfn5b"),
    "ViT-H-14-378": (),
    "ViT-H-14-378-quickgelu": ("dfn5b",),
    "ViT-g-14": ("laion2b_s12b_b42k", "laion2b_s34b_b88k"),
    "ViT-bigG-14": ("laion2b_s39b_b160k",),
    "ViT-bigG-14-quickgelu": ("metaclip_fullcc",),
    "EVA01-g-14": ("laion400m_s11b_b41k",),
    "EVA01-g-14-plus": ("merged2b_s11b_b114k",),
    "EVA02-B-16": ("merged2b_s8b_b131k",),
    "EVA02-L-14": ("merged2b_s4b_b131k",),
    "EVA02-L-14-336": ("merged2b_s6b_b61k",),
    "EVA02-E-14": ("laion2b_s4b_b115k",),
    "EVA02-E-14-plus": ("laion2b_s9b_b144k",),
}
_HALF: Channels = (0.5, 0.5, 0.5)
_NORMALISATION: Mapping[tuple[str, str], tuple[Channels, Channels]] = {
    ("ViT-L-14", "laion2b_s32b_b82k"): (_HALF, _HALF)
}


def normalisation(model: str, tag: str) -> tuple[Channels, Channels]:
    """Means and standard deviations that pretrained weights were trained with; nearly always CLIP's."""
    return _NORMALISATION.get((model, tag), (CLIP_MEAN, CLIP_STD))
