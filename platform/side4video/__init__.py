"""Side4Video: memory-frugal transfer of frozen image models to video.

A large frozen image tower (CLIP, EVA-CLIP) and a small trainable spatial-temporal side network, for action
recognition and text-video retrieval (Yao, Wu and Li, 2023, arXiv 2311.15769).
"""

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """`side4video.load`, imported when it is asked for: a document is checked without torch."""
    if name == "load":
        from importlib import import_module

        # By name: what lies below imports this package for its version, and would else import the top through it.
        return import_module("side4video.inference.model").load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
