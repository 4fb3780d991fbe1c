"""Renders the built-in `motion` set: NumPy pictures, H.264 files.

A scene is a textured object over a textured background, filmed by a hand-held camera (jitter), with one motion. It is
rendered once and written twice, forwards and backwards. Every frame is coded for itself at a constant quantiser, so
what a frame looks like after decoding does not depend on its place in the file.

Arrays carry shape suffixes: T frames, H W pixels, C channels. Scene coordinates run from -1 to 1 over the
frame, y down.
"""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np

from side4video.core.files import write_atomically
from side4video.core.seeds import derive_seed

FRAMES_PER_SECOND = 8
QUANTISER = 18

COLOURS = {
    "red": (225, 45, 40),
    "green": (50, 190, 70),
    "blue": (50, 90, 230),
    "yellow": (240, 215, 50),
    "purple": (165, 60, 205),
    "orange": (245, 140, 30),
    "white": (240, 240, 240),
    "cyan": (50, 205, 215),
}
SHAPES = ("disc", "square", "triangle", "drop", "bar", "half-moon")
TEXTURES = ("plain", "striped", "checked", "dotted")
BACKGROUNDS = {"grey": (95, 95, 95), "brown": (100, 75, 50), "teal": (35, 85, 85), "olive": (85, 85, 40)}
HELD_OUT_SHARE = 5
"""One look in so many (shape, texture, colour) is kept for test."""

TEMPLATES = {
    ("left", "right"): ("moves from right to left", "moves from left to right"),
    ("up", "down"): ("moves from the bottom to the top", "moves from the top to the bottom"),
    ("approach", "recede"): ("grows larger as it comes closer", "grows smaller as it goes away"),
    ("appear", "vanish"): ("slowly appears", "slowly vanishes"),
    ("clockwise", "anticlockwise"): ("turns clockwise", "turns anticlockwise"),
}
SENTENCES = (
    "{a_look} {motion} over {a_ground} background",
    "over {a_ground} background, {a_look} {motion}",
    "the {look} {motion} in front of something {ground}",
    "a video in which {a_look} {motion}",
)


@dataclass(frozen=True)
class MotionSet:
    """What to render."""

    pairs: Sequence[tuple[str, str]]
    """Class names; the second of a pair is the first one backwards."""
    clips: dict[str, int]
    """Clips of each split."""
    frames: int
    size: int
    seed: int


@dataclass(frozen=True)
class MotionClip:
    """A clip that was written."""

    path: str
    label: str
    split: str
    group: str
    captions: tuple[str, ...]


@dataclass(frozen=True)
class Scene:
    """Everything that is drawn of a scene, apart from its noise."""

    motion: str
    """The class of its forward direction."""
    shape: str
    texture: str
    colour: str
    background: str
    seed: int


def render_motion_set(
    folder: Path, request: MotionSet, progress: Callable[[int, int], None] | None = None
) -> list[MotionClip]:
    """Write all clips under `folder`, and say what was written."""
    rows: list[MotionClip] = []
    total = sum(request.clips.values())
    for split, clips in request.clips.items():
        (folder / split).mkdir(parents=True)
        looks = _appearances(held_out=split == "test")
        for number in range(clips // 2):
            pair = request.pairs[number % len(request.pairs)]
            scene = _draw_scene(pair[0], looks, derive_seed(request.seed, "scene", split, number))
            frames_THWC = render_scene(scene, frames=request.frames, size=request.size)
            for label, order in ((pair[0], 1), (pair[1], -1)):
                path = f"{split}/{number:05d}-{label}.mp4"
                write_video(folder / path, frames_THWC[::order])
                captions = describe(scene, pair, backwards=order < 0)
                rows.append(MotionClip(path, label, split, f"{split}-{number:05d}", captions))
            if progress is not None:
                progress(len(rows), total)
    return rows


def describe(scene: Scene, pair: tuple[str, str], *, backwards: bool) -> tuple[str, ...]:
    """Two sentences; those of a scene's two directions differ in the words of order alone."""
    rng = np.random.default_rng(derive_seed(scene.seed, "captions"))
    look = (
        f"{scene.colour} {scene.shape}" if scene.texture == "plain" else f"{scene.texture} {scene.colour} {scene.shape}"
    )
    words = {
        "look": look,
        "a_look": _with_article(look),
        "motion": TEMPLATES[pair][int(backwards)],
        "ground": scene.background,
        "a_ground": _with_article(scene.background),
    }
    return tuple(SENTENCES[index].format(**words) for index in rng.choice(len(SENTENCES), size=2, replace=False))


def _with_article(words: str) -> str:
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def render_scene(scene: Scene, *, frames: int, size: int) -> np.ndarray:
    """The forward film of a scene, uint8 `[frames, size, size, 3]`."""
    rng = np.random.default_rng(scene.seed)
    time_T = np.linspace(0.0, 1.0, frames)
    path_T4 = _motion_path(scene.motion, time_T, rng)
    x_T, y_T, scale_T, angle_T = path_T4.T
    opacity_T = 0.02 + 0.98 * time_T if scene.motion == "appear" else np.ones(frames)
    jitter_T2 = _jitter(frames, rng)
    background_THWC = _background(scene.background, jitter_T2, size, rng)

    grid = (np.arange(size) + 0.5) / size * 2 - 1
    x_THW = grid[None, None, :] - (x_T + jitter_T2[:, 0])[:, None, None]
    y_THW = grid[None, :, None] - (y_T + jitter_T2[:, 1])[:, None, None]
    cosine, sine = np.cos(angle_T)[:, None, None], np.sin(angle_T)[:, None, None]
    u_THW = (cosine * x_THW + sine * y_THW) / scale_T[:, None, None]
    v_THW = (-sine * x_THW + cosine * y_THW) / scale_T[:, None, None]

    softness = 2.0 / size / scale_T[:, None, None]
    mask_THW = np.clip(0.5 - _distance(scene.shape, u_THW, v_THW) / softness, 0, 1) * opacity_T[:, None, None]
    colour_THWC = _object_colour(scene, u_THW, v_THW, rng)
    picture_THWC = background_THWC * (1 - mask_THW[..., None]) + colour_THWC * mask_THW[..., None]
    return np.clip(np.rint(picture_THWC), 0, 255).astype(np.uint8)


def write_video(path: Path, frames_THWC: np.ndarray) -> None:
    """Write uint8 RGB frames as H.264 in MP4: every frame a key frame, constant quantiser, one thread."""
    import av

    frames, height, width, _ = frames_THWC.shape
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=FRAMES_PER_SECOND)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.thread_count = 1
        stream.options = {"preset": "veryfast", "qp": str(QUANTISER), "g": "1", "bf": "0", "x264-params": "threads=1"}
        for index in range(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(frames_THWC[index]), format="rgb24")
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    write_atomically(path, file.getvalue())


def _appearances(*, held_out: bool) -> list[tuple[str, str, str]]:
    """The (shape, texture, colour) combinations of a split; no combination stands on both sides."""
    looks = product(SHAPES, TEXTURES, COLOURS)
    return [look for look in looks if (derive_seed("look", *look) % HELD_OUT_SHARE == 0) == held_out]


def _draw_scene(motion: str, looks: Sequence[tuple[str, str, str]], seed: int) -> Scene:
    rng = np.random.default_rng(derive_seed(seed, "look"))
    if motion == "clockwise":  # a disc or a square may look the same after a turn
        looks = [look for look in looks if look[0] not in ("disc", "square")]
    shape, texture, colour = looks[int(rng.integers(len(looks)))]
    background = list(BACKGROUNDS)[int(rng.integers(len(BACKGROUNDS)))]
    return Scene(motion, shape, texture, colour, background, seed)


def _motion_path(motion: str, time_T: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Place (x, y), scale and angle of the object in each frame, float `[T, 4]`."""
    base = rng.uniform(0.30, 0.42)
    across, reach = rng.uniform(-0.3, 0.3), rng.uniform(0.5, 0.65)
    angle = rng.uniform(0, 2 * np.pi)
    zeros_T = np.zeros_like(time_T)
    x_T, y_T, scale_T, angle_T = zeros_T + across, zeros_T + rng.uniform(-0.3, 0.3), zeros_T + base, zeros_T + angle
    sweep_T = reach * (2 * time_T - 1)
    if motion == "left":
        x_T = -sweep_T
    elif motion == "up":
        y_T = -sweep_T
    elif motion == "approach":
        scale_T = rng.uniform(0.16, 0.22) * rng.uniform(3.0, 3.6) ** time_T
    elif motion == "clockwise":
        # Less than a bar's half turn: more would look the same backwards between two sampled frames.
        angle_T = angle + np.radians(rng.uniform(100, 160)) * time_T
        scale_T = scale_T * 1.6
    return np.stack([x_T, y_T, scale_T, angle_T], axis=1)


def _jitter(frames: int, rng: np.random.Generator) -> np.ndarray:
    """Camera shake, float `[T, 2]`: small, without drift."""
    return rng.normal(0, 0.02, size=(frames, 2)).clip(-0.05, 0.05)


def _background(name: str, jitter_T2: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Smooth random texture moved by the jitter, float `[T, H, W, 3]`."""
    waves = 7
    direction = rng.uniform(0, 2 * np.pi, waves)
    frequency = rng.uniform(2, 11, waves)
    phase = rng.uniform(0, 2 * np.pi, waves)
    grid = (np.arange(size) + 0.5) / size * 2 - 1
    texture_THW = np.zeros((len(jitter_T2), size, size))
    for wave in range(waves):
        x_TW = (grid[None, :] - jitter_T2[:, :1]) * (frequency[wave] * np.cos(direction[wave]))
        y_TH = (grid[None, :] - jitter_T2[:, 1:]) * (frequency[wave] * np.sin(direction[wave]))
        texture_THW += np.sin(x_TW[:, None, :] + y_TH[:, :, None] + phase[wave])
    tint_C = np.array(BACKGROUNDS[name], dtype=float) + rng.uniform(-12, 12, 3)
    return tint_C * (1 + texture_THW[..., None] * (0.35 / np.sqrt(waves)))


def _distance(shape: str, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Roughly the signed distance to the shape's edge, negative inside; shapes have a radius of about 1."""
    radius = np.hypot(u, v)
    if shape == "disc":
        return radius - 0.9
    if shape == "square":
        return np.maximum(np.abs(u), np.abs(v)) - 0.8
    if shape == "triangle":
        return np.maximum(v - 0.6, 0.87 * np.abs(u) - 0.5 * v - 0.5)
    if shape == "drop":  # a disc with a long tip upwards
        return np.minimum(np.hypot(u, v - 0.3) - 0.6, np.maximum(v - 0.3, np.abs(u) - 0.46 * (v + 1.0)))
    if shape == "bar":  # with a knob at one end
        return np.minimum(np.maximum(np.abs(u) - 0.22, np.abs(v) - 0.9), np.hypot(u, v + 0.65) - 0.42)
    return np.maximum(radius - 0.95, 0.75 - np.hypot(u - 0.65, v))  # half-moon


def _object_colour(scene: Scene, u: np.ndarray, v: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The object's texture in its own coordinates, float `[T, H, W, 3]`: one end is darker, so that a turn shows."""
    period, phase = rng.uniform(0.35, 0.6), rng.uniform(0, 1)
    stripes_u, stripes_v = np.floor(u / period + phase), np.floor(v / period + phase)
    if scene.texture == "striped":
        dark = stripes_u % 2
    elif scene.texture == "checked":
        dark = (stripes_u + stripes_v) % 2
    elif scene.texture == "dotted":
        dark = np.hypot(u / period % 1 - 0.5, v / period % 1 - 0.5) < 0.3
    else:
        dark = np.zeros_like(u)
    shade = (1 - 0.4 * dark) * np.clip(0.85 - 0.35 * v, 0.4, 1.1)
    return np.array(COLOURS[scene.colour], dtype=float) * shade[..., None]
