"""Side4Video: memory-frugal transfer of frozen image models to video.

A large frozen image tower (CLIP, EVA-CLIP) and a small trainable spatial-temporal side network, for action
recognition and text-video retrieval (Yao, Wu and Li, 2023, arXiv 2311.15769).
"""

__version__ = "0.1.0"
