"""Each rule of `check-plugin` has a part that breaks it, and is kept by a good one."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from plugin_files import SOURCE, write_plugin
from side4video.cli.main import cli
from side4video.data.motion_render import write_video


@pytest.fixture(autouse=True)
def nothing_allowed(monkeypatch, tmp_path):
    monkeypatch.setenv("SIDE4VIDEO_PLUGINS", "")
    monkeypatch.setenv("SIDE4VIDEO_HOME", str(tmp_path / "home"))


@pytest.fixture
def clips(tmp_path):
    """Two classes, with a training and a test folder."""
    for split, name in (("train", "1-fall"), ("train", "2-rise"), ("test", "3-fall")):
        frames = np.random.default_rng(len(name)).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
        write_video(tmp_path / "clips" / split / f"{name}.mp4", frames)
    return tmp_path / "clips"


def check(file: Path, *settings: str) -> tuple[int, dict[str, str]]:
    """The exit code, and the problem of each rule by part and rule."""
    words = [word for each in settings for word in ("--set", each)]
    done = CliRunner().invoke(cli, ["check-plugin", str(file), "--json", *words])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, {
        f"{row['part']}: {row['rule']}": row["problem"] for row in json.loads(done.output)["checks"]
    }


def only(source: str, parts: str) -> str:
    """The same source with another PLUGIN."""
    return source[: source.index("PLUGIN = Plugin(")] + f"PLUGIN = Plugin({parts})\n"


def problems(tmp_path: Path, parts: str, *changes: tuple[str, str], settings: tuple[str, ...] = ()) -> dict[str, str]:
    """The problems of a plug-in whose source is changed, by rule, without the part's name."""
    source = only(SOURCE, parts)
    for before, after in changes:
        assert before in source
        source = source.replace(before, after)
    code, found = check(write_plugin(tmp_path / "mine", source), *settings)
    broken = {name.partition(": ")[2]: problem for name, problem in found.items() if problem}
    assert code == bool(broken)
    return broken


@pytest.mark.slow
def test_a_good_plugin_keeps_all(tmp_path, clips):
    code, found = check(write_plugin(tmp_path / "mine"), f"named.root={clips}")
    assert {name: problem for name, problem in found.items() if problem} == {}
    assert code == 0
    assert len(found) == 10 + 9 + 6 + 4 + 3


CLASSES = 'return tuple(sorted({file.stem.split("-")[-1] for file in Path(self.root).rglob("*.mp4")}))'
SHUFFLED = "import random\n        return [Clip(str(f), 0, start_seconds=random.random()) for f in files]"
CLIPS = 'return [Clip(str(file), self.classes().index(file.stem.split("-")[-1]), origin=str(file)) for file in files]'


@pytest.mark.parametrize(
    ("before", "after", "rule", "problem"),
    [
        (CLIPS, "return []", "each split has clips", "clips('train') is empty"),
        (
            CLIPS,
            "return [Clip(str(file), 7) for file in files]",
            "labels are positions in the list of classes",
            "has the label 7",
        ),
        (
            CLIPS,
            "return [str(file) for file in files]",
            "labels are positions in the list of classes",
            "is a str, not a Clip",
        ),
        ("Path(self.root, split)", "Path(self.root, 'train')", "no clip is in two splits", "is in train and in test"),
        (CLIPS, SHUFFLED, "the same clips come in the same order each time", "differs when it is called again"),
        (CLASSES, 'return ("fall", "rise", "rise")', "its classes are texts, each once", "a name twice"),
        (CLASSES, 'return ("fall", "rise", 3)', "its classes are texts, each once", "no text"),
        (
            "    def classes(self)",
            "    def splits(self):\n        return ('train',)\n\n    def classes(self)",
            "it has a training and a test split",
            "lacks test",
        ),
        (
            "    def classes(self)",
            "    def splits(self):\n        return ('train', 'test', 'mine')\n\n    def classes(self)",
            "it has a training and a test split",
            "'mine'",
        ),
        (
            "    def classes(self)",
            "    def flipped_classes(self):\n        return {0: 9}\n\n    def classes(self)",
            "a flipped clip has a label",
            "9, which is no class",
        ),
        ("Clip(str(file),", "Clip(str(file) + 'x',", "the first clip of each split can be decoded", "no such file"),
    ],
)
def test_a_broken_data_set(tmp_path, clips, before, after, rule, problem):
    broken = problems(tmp_path, "datasets=(Named,)", (before, after), settings=(f"named.root={clips}",))
    assert problem in broken[rule], broken


def test_a_data_set_without_its_fields(tmp_path):
    broken = problems(tmp_path, "datasets=(Named,)")
    assert broken == {"can be made of its defaults and --set": "root: field required · fix: --set named.root=VALUE"}


@pytest.mark.parametrize(
    ("before", "after", "rule", "problem"),
    [
        (".astype(np.uint8)\n\n\ndef share", "\n\n\ndef share", "frames keep their shape and are uint8", "int64"),
        ("return np.clip(", "return np.clip(0 * ", "", ""),
        (
            "noise = rng.integers(",
            "noise = np.random.default_rng().integers(",
            "the same generator gives the same frames",
            "differ",
        ),
        (
            'kind: Literal["noise"] = "noise"',
            'is_random = False\n    kind: Literal["noise"] = "noise"',
            "it draws from the given generator alone",
            "is_random is False",
        ),
        (
            "noise = rng",
            "frames_THWC[0] = 0\n        noise = rng",
            "the frames that it gets are not changed",
            "frames_THWC.copy()",
        ),
    ],
)
def test_a_broken_transform(tmp_path, before, after, rule, problem):
    broken = problems(tmp_path, "transforms=(Noise,)", (before, after))
    assert (rule in broken and problem in broken[rule]) if rule else not broken, broken


@pytest.mark.parametrize(
    ("before", "after", "rule", "problem"),
    [
        ("return float(", "return 'much' or float(", "it is a number for results of a task", "could not convert"),
        ("return float(", "return float('nan') or float(", "it is a number for results of a task", "nan"),
        (
            "(found.scores_NC.max(axis=1) > 0.5).mean()",
            "found.labels_N[0]",
            "the order of the videos does not matter",
            "and",
        ),
        (
            "(found.scores_NC.max(axis=1) > 0.5).mean()",
            "(found.ranks > 0).mean()",
            "`better: max` is true: right answers are not worse",
            "0 for right answers, 1 for wrong ones",
        ),
        (
            "(found.scores_NC.max(axis=1) > 0.5).mean()",
            "len(found.labels_N)",
            "it is a fraction, 0 to 1, as its unit says",
            "24.0",
        ),
    ],
)
def test_a_broken_metric(tmp_path, before, after, rule, problem):
    parts = 'recognition_metrics=(MetricSpec("share_sure", "sure answers", share_sure),)'
    broken = problems(tmp_path, parts, (before, after))
    assert problem in broken[rule], broken


UNSEEDED = "torch.rand((), generator=torch.Generator().manual_seed(torch.seed() % 2**31))"
FORWARD = "return self.mlp(features.pooled_BTD.float().amax(dim=1))"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("before", "after", "rule", "problem"),
    [
        (
            "FeatureRequest(pooled=True)",
            "FeatureRequest(tokens=frozenset({99}))",
            "can be tried",
            "reads block 99, and the backbone has 12",
        ),
        (
            FORWARD,
            FORWARD + "[:1]",
            "recognition: the scores have the shape [clips, classes]",
            "forward() returned [1, 32] in float32 · allowed: [3, 32]",
        ),
        (
            FORWARD,
            "x = features.pooled_BTD.float().amax(dim=1)\n                return self.mlp(x - x.mean(dim=0))",
            "recognition: a clip has the same scores alone as in a batch",
            "differ by",
        ),
        (
            "super().__init__()",
            "super().__init__()\n                self.spare = nn.Linear(3, 3)",
            "recognition: each trained weight has a gradient",
            "network.spare.weight",
        ),
        (
            "super().__init__()",
            "super().__init__()\n                self.tower = tower.requires_grad_(True)",
            "recognition: the tower stays as it is",
            "packable = False",
        ),
        (
            FORWARD,
            f"import torch\n                {FORWARD} * (1 + {UNSEEDED})",
            "recognition: the same seed gives the same weights",
            "other weights",
        ),
    ],
)
def test_a_broken_method(tmp_path, before, after, rule, problem):
    broken = problems(tmp_path, "methods=(MaxProbe,)", (before, after))
    assert problem in broken[rule], broken


@pytest.mark.slow
def test_what_a_method_keeps_outside_its_weights(tmp_path):
    """A counter that a checkpoint does not hold, and that students of a pack share."""
    counted = "CALLS.append(1)\n                " + FORWARD.replace("return ", "return len(CALLS) % 7 * ")
    changes = (("class MaxProbe", "CALLS = []\n\n\nclass MaxProbe"), (FORWARD, counted))
    broken = problems(tmp_path, "methods=(MaxProbe,)", *changes)
    assert "recognition: a run that was stopped goes on to the same weights" in broken
    assert "recognition: it has the same weights in a pack as alone" in broken


def test_an_error_says_the_line_of_the_plugin(tmp_path):
    changes = (("noise = rng", "noise = 1 / 0\n        noise = rng"),)
    broken = problems(tmp_path, "transforms=(Noise,)", *changes)
    line = next(n for n, text in enumerate(SOURCE.splitlines(), 1) if "noise = rng" in text)
    assert (
        f"apply() raised ZeroDivisionError: division by zero (line {line})"
        in broken["frames keep their shape and are uint8"]
    )


def test_settings_of_no_part(tmp_path):
    done = CliRunner().invoke(cli, ["check-plugin", str(write_plugin(tmp_path)), "--set", "nois.strength=3"])
    assert "named, max-probe, noise" in str(done.exception)


@pytest.mark.parametrize("statement", ["raise SystemExit(0)", "raise BaseException('x')"])
def test_a_part_that_leaves_is_a_broken_one(tmp_path, statement):
    """The twin ended with exit code 0 and without the last line, so that CI takes the plug-in for a good one."""
    broken = problems(tmp_path, "transforms=(Noise,)", ("noise = rng", f"{statement}\n        noise = rng"))
    assert "raised" in broken["frames keep their shape and are uint8"]
    assert statement[6:].split("(")[0] in broken["the same generator gives the same frames"]


def test_a_validator_that_leaves(tmp_path):
    validator = (
        "@field_validator('strength')\n    def check_it(cls, value):\n        raise SystemExit(0)\n\n    def apply("
    )
    changes = (("def apply(", validator), ("import numpy", "from pydantic import field_validator\nimport numpy"))
    broken = problems(tmp_path, "transforms=(Noise,)", *changes)
    assert "raised SystemExit: 0 (line" in broken["can be made of its defaults and --set"]


@pytest.mark.parametrize("classes", ["return {'fall', 'rise'}", "return 'fr'", "return (each for each in 'fr')"])
def test_classes_that_are_no_tuple(tmp_path, clips, classes):
    broken = problems(tmp_path, "datasets=(Named,)", (CLASSES, classes), settings=(f"named.root={clips}",))
    assert "classes() returned a" in broken["its classes are texts, each once"]


def test_clips_that_can_be_read_once(tmp_path, clips):
    once = CLIPS.replace("[Clip", "(Clip").replace("in files]", "in files)")
    broken = problems(tmp_path, "datasets=(Named,)", (CLIPS, once), settings=(f"named.root={clips}",))
    assert "returned a generator" in broken["each split has clips"]


@pytest.mark.slow
def test_an_output_dim_that_is_not_the_networks(tmp_path):
    wrong = "def output_dim(self, tower):\n        return 7\n\n    def build("
    broken = problems(tmp_path, "methods=(MaxProbe,)", ("def build(", wrong))
    assert any("output_dim is 32, and output_dim() of the method 7" in problem for problem in broken.values()), broken
