"""The pretrained weights that open_clip offers, by model, so that a wrong tag is found without a download.

Only tags whose activation is the model's: open_clip lists `openai` under `ViT-B-16` too, computes GELU there with
weights that were trained with QuickGELU, and merely warns.
"""

from collections.abc import Mapping

from side4video.models.backbones.shape import CLIP_MEAN, CLIP_STD, Channels

PRETRAINED_TAGS: Mapping[str, Mapping[str, str]] = {
    "ViT-B-32": {
        "laion2b_e16": "timm/vit_base_patch32_clip_224.laion2b_e16",
        "laion2b_s34b_b79k": "laion/CLIP-ViT-B-32-laion2B-s34B-b79K",
        "datacomp_xl_s13b_b90k": "laion/CLIP-ViT-B-32-DataComp.XL-s13B-b90K",
        "datacomp_m_s128m_b4k": "laion/CLIP-ViT-B-32-DataComp.M-s128M-b4K",
        "commonpool_m_clip_s128m_b4k": "laion/CLIP-ViT-B-32-CommonPool.M.clip-s128M-b4K",
        "commonpool_m_laion_s128m_b4k": "laion/CLIP-ViT-B-32-CommonPool.M.laion-s128M-b4K",
        "commonpool_m_image_s128m_b4k": "laion/CLIP-ViT-B-32-CommonPool.M.image-s128M-b4K",
        "commonpool_m_text_s128m_b4k": "laion/CLIP-ViT-B-32-CommonPool.M.text-s128M-b4K",
        "commonpool_m_basic_s128m_b4k": "laion/CLIP-ViT-B-32-CommonPool.M.basic-s128M-b4K",
        "commonpool_m_s128m_b4k": "laion/CLIP-ViT-B-32-CommonPool.M-s128M-b4K",
        "datacomp_s_s13m_b4k": "laion/CLIP-ViT-B-32-DataComp.S-s13M-b4K",
        "commonpool_s_clip_s13m_b4k": "laion/CLIP-ViT-B-32-CommonPool.S.clip-s13M-b4K",
        "commonpool_s_laion_s13m_b4k": "laion/CLIP-ViT-B-32-CommonPool.S.laion-s13M-b4K",
        "commonpool_s_image_s13m_b4k": "laion/CLIP-ViT-B-32-CommonPool.S.image-s13M-b4K",
        "commonpool_s_text_s13m_b4k": "laion/CLIP-ViT-B-32-CommonPool.S.text-s13M-b4K",
        "commonpool_s_basic_s13m_b4k": "laion/CLIP-ViT-B-32-CommonPool.S.basic-s13M-b4K",
        "commonpool_s_s13m_b4k": "laion/CLIP-ViT-B-32-CommonPool.S-s13M-b4K",
    },
    "ViT-B-32-quickgelu": {
        "openai": "timm/vit_base_patch32_clip_224.openai",
        "laion400m_e31": "timm/vit_base_patch32_clip_224.laion400m_e31",
        "laion400m_e32": "timm/vit_base_patch32_clip_224.laion400m_e32",
        "metaclip_400m": "timm/vit_base_patch32_clip_224.metaclip_400m",
        "metaclip_fullcc": "timm/vit_base_patch32_clip_224.metaclip_2pt5b",
    },
    "ViT-B-32-256": {
        "datacomp_s34b_b86k": "laion/CLIP-ViT-B-32-256x256-DataComp-s34B-b86K",
    },
    "ViT-B-16": {
        "laion400m_e31": "timm/vit_base_patch16_clip_224.laion400m_e31",
        "laion400m_e32": "timm/vit_base_patch16_clip_224.laion400m_e32",
        "laion2b_s34b_b88k": "laion/CLIP-ViT-B-16-laion2B-s34B-b88K",
        "datacomp_xl_s13b_b90k": "laion/CLIP-ViT-B-16-DataComp.XL-s13B-b90K",
        "datacomp_l_s1b_b8k": "laion/CLIP-ViT-B-16-DataComp.L-s1B-b8K",
        "commonpool_l_clip_s1b_b8k": "laion/CLIP-ViT-B-16-CommonPool.L.clip-s1B-b8K",
        "commonpool_l_laion_s1b_b8k": "laion/CLIP-ViT-B-16-CommonPool.L.laion-s1B-b8K",
        "commonpool_l_image_s1b_b8k": "laion/CLIP-ViT-B-16-CommonPool.L.image-s1B-b8K",
        "commonpool_l_text_s1b_b8k": "laion/CLIP-ViT-B-16-CommonPool.L.text-s1B-b8K",
        "commonpool_l_basic_s1b_b8k": "laion/CLIP-ViT-B-16-CommonPool.L.basic-s1B-b8K",
        "commonpool_l_s1b_b8k": "laion/CLIP-ViT-B-16-CommonPool.L-s1B-b8K",
    },
    "ViT-B-16-quickgelu": {
        "openai": "timm/vit_base_patch16_clip_224.openai",
        "dfn2b": "apple/DFN2B-CLIP-ViT-B-16",
        "metaclip_400m": "timm/vit_base_patch16_clip_224.metaclip_400m",
        "metaclip_fullcc": "timm/vit_base_patch16_clip_224.metaclip_2pt5b",
    },
    "ViT-B-16-plus-240": {
        "laion400m_e31": "timm/vit_base_patch16_plus_clip_240.laion400m_e31",
        "laion400m_e32": "timm/vit_base_patch16_plus_clip_240.laion400m_e31",
    },
    "ViT-L-14": {
        "laion400m_e31": "timm/vit_large_patch14_clip_224.laion400m_e31",
        "laion400m_e32": "timm/vit_large_patch14_clip_224.laion400m_e32",
        "laion2b_s32b_b82k": "laion/CLIP-ViT-L-14-laion2B-s32B-b82K",
        "datacomp_xl_s13b_b90k": "laion/CLIP-ViT-L-14-DataComp.XL-s13B-b90K",
        "commonpool_xl_clip_s13b_b90k": "laion/CLIP-ViT-L-14-CommonPool.XL.clip-s13B-b90K",
        "commonpool_xl_laion_s13b_b90k": "laion/CLIP-ViT-L-14-CommonPool.XL.laion-s13B-b90K",
        "commonpool_xl_s13b_b90k": "laion/CLIP-ViT-L-14-CommonPool.XL-s13B-b90K",
        "dfn2b_s39b": "apple/DFN2B-CLIP-ViT-L-14-39B",
    },
    "ViT-L-14-quickgelu": {
        "openai": "timm/vit_large_patch14_clip_224.openai",
        "metaclip_400m": "timm/vit_large_patch14_clip_224.metaclip_400m",
        "metaclip_fullcc": "timm/vit_large_patch14_clip_224.metaclip_2pt5b",
        "dfn2b": "apple/DFN2B-CLIP-ViT-L-14",
    },
    "ViT-L-14-336": {},
    "ViT-L-14-336-quickgelu": {
        "openai": "timm/vit_large_patch14_clip_336.openai",
    },
    "ViT-H-14": {
        "laion2b_s32b_b79k": "laion/CLIP-ViT-H-14-laion2B-s32B-b79K",
        "metaclip_altogether": "timm/vit_huge_patch14_clip_224.metaclip_altogether",
    },
    "ViT-H-14-quickgelu": {
        "metaclip_fullcc": "timm/vit_huge_patch14_clip_224.metaclip_2pt5b",
        "dfn5b": "apple/DFN5B-CLIP-ViT-H-14",
    },
    "ViT-H-14-378": {},
    "ViT-H-14-378-quickgelu": {
        "dfn5b": "apple/DFN5B-CLIP-ViT-H-14-378",
    },
    "ViT-g-14": {
        "laion2b_s12b_b42k": "laion/CLIP-ViT-g-14-laion2B-s12B-b42K",
        "laion2b_s34b_b88k": "laion/CLIP-ViT-g-14-laion2B-s34B-b88K",
    },
    "ViT-bigG-14": {
        "laion2b_s39b_b160k": "laion/CLIP-ViT-bigG-14-laion2B-39B-b160k",
    },
    "ViT-bigG-14-quickgelu": {
        "metaclip_fullcc": "timm/vit_gigantic_patch14_clip_224.metaclip_2pt5b",
    },
    "EVA01-g-14": {
        "laion400m_s11b_b41k": "timm/eva_giant_patch14_clip_224.laion400m_s11b_b41k",
    },
    "EVA01-g-14-plus": {
        "merged2b_s11b_b114k": "timm/eva_giant_patch14_plus_clip_224.merged2b_s11b_b114k",
    },
    "EVA02-B-16": {
        "merged2b_s8b_b131k": "timm/eva02_base_patch16_clip_224.merged2b_s8b_b131k",
    },
    "EVA02-L-14": {
        "merged2b_s4b_b131k": "timm/eva02_large_patch14_clip_224.merged2b_s4b_b131k",
    },
    "EVA02-L-14-336": {
        "merged2b_s6b_b61k": "timm/eva02_large_patch14_clip_336.merged2b_s6b_b61k",
    },
    "EVA02-E-14": {
        "laion2b_s4b_b115k": "timm/eva02_enormous_patch14_clip_224.laion2b_s4b_b115k",
    },
    "EVA02-E-14-plus": {
        "laion2b_s9b_b144k": "timm/eva02_enormous_patch14_plus_clip_224.laion2b_s9b_b144k",
    },
}
"""By model and tag: the repository on the Hugging Face hub that holds the weights."""
_HALF: Channels = (0.5, 0.5, 0.5)
_NORMALISATION: Mapping[tuple[str, str], tuple[Channels, Channels]] = {
    ("ViT-L-14", "laion2b_s32b_b82k"): (_HALF, _HALF)
}


def normalisation(model: str, tag: str) -> tuple[Channels, Channels]:
    """Means and standard deviations that pretrained weights were trained with; nearly always CLIP's."""
    return _NORMALISATION.get((model, tag), (CLIP_MEAN, CLIP_STD))
