"""Code of a plug-in that fails, or returns something wrong, is one sentence with its name and line: in each caller."""

import copy
import pickle
import queue
import re
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch

from plugin_files import SOURCE, write_plugin
from side4video.core.errors import InputError, Side4VideoError
from side4video.core.plugin_fault import PluginFault
from side4video.data.decode.transform_spec import apply_transforms
from side4video.data.motion_render import write_video
from side4video.data.spec import LoaderSpec
from side4video.data.streams.prefetch import ProcessPrefetcher, thread_prefetcher
from side4video.data.streams.reader import TrainingKey, TrainingReader
from side4video.data.streams.timed_prefetch import run_in_thread
from side4video.engine.process_group import ProcessGroup
from side4video.models.feature_request import FeatureRequest
from side4video.models.frozen_features import frozen_features
from side4video.planning.plan import plan_experiment
from side4video.plugins import allow_plugins
from side4video.run import build_student
from tiny import tiny

MEND = r"fix: mend the plug-in; side4video check-plugin .*my_parts\.py tries it"
CLASSES = 'return tuple(sorted({file.stem.split("-")[-1] for file in Path(self.root).rglob("*.mp4")}))'
CLIPS = 'return [Clip(str(file), self.classes().index(file.stem.split("-")[-1]), origin=str(file)) for file in files]'
READS = "return FeatureRequest(pooled=True)"
BUILD = "return Network(self.hidden)"
FORWARD = "return self.mlp(features.pooled_BTD.float().amax(dim=1))"
APPLY = "noise = rng.integers"


def made(tmp_path, before, after, **changes):
    """The experiment with a plug-in whose source is changed."""
    assert before in SOURCE
    file = write_plugin(tmp_path / "mine", SOURCE.replace(before, after))
    allow_plugins(file)
    return tiny(plugins=[str(file)], **changes)


@pytest.fixture
def clips(tmp_path):
    for split, name in (("train", "1-fall"), ("train", "2-rise"), ("test", "3-fall")):
        write_video(tmp_path / "clips" / split / f"{name}.mp4", np.zeros((6, 32, 32, 3), np.uint8))
    return tmp_path / "clips"


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (CLASSES, "raise ValueError('boom')", r"classes\(\) raised ValueError: boom \(line \d+\)"),
        (CLASSES, "return (1, 2)", r"classes\(\) has something that is no text: 1"),
        (CLASSES, "return None", r"classes\(\) returned None · allowed: a tuple of texts"),
        (CLASSES, "return 'fr'", r"classes\(\) returned a str"),
        (CLASSES, "return {'fall', 'rise'}", r"classes\(\) returned a set"),
        (CLASSES, "return (each for each in ('fall', 'rise'))", r"classes\(\) returned a generator"),
        (CLASSES, "return ('fall', 'rise', 'fall')", r"classes\(\) has a name twice: fall"),
        (CLASSES, "return ()", r"clips\('train'\) raised ValueError"),  # the source looks names up
        (CLIPS, "raise KeyError('x')", r"clips\('train'\) raised KeyError: 'x' \(line \d+\)"),
        (CLIPS, "raise SystemExit(3)", r"clips\('train'\) raised SystemExit: 3"),
        (CLIPS, "return None", r"clips\('train'\) returned None · allowed: a list of Clip"),
        (CLIPS, "return (Clip(str(file), 0) for file in files)", r"clips\('train'\) returned a generator"),
        (CLIPS, "return []", r"clips\('train'\) is empty: the split has no videos"),
        (CLIPS, "return [str(file) for file in files]", r"clips\('train'\)\[0\] is a str, not a Clip"),
        (
            CLIPS,
            "return [Clip(file, 0) for file in files]",
            r"\[0\] has the path PosixPath.* · allowed: a text: str\(path\)",
        ),
        (CLIPS, "return [Clip(str(f), -1) for f in files]", r"\[0\] has the label -1, and there are 2 classes"),
        (CLIPS, "return [Clip(str(f), 7) for f in files]", r"\[0\] has the label 7, .* · allowed: 0 to 1"),
        (CLIPS, "return [Clip(str(f), 'fall') for f in files]", r"\[0\] has the label 'fall' · allowed: the position"),
        (CLIPS, "return [Clip(str(f), True) for f in files]", r"\[0\] has the label True"),
        (
            CLIPS,
            "return [Clip(str(f), 0, 'a man') for f in files]",
            r"\[0\] has the captions 'a man' · allowed: a tuple",
        ),
    ],
)
def test_a_data_set(tmp_path, clips, before, after, expected):
    dataset = made(tmp_path, before, after, **named(clips)).data.dataset
    with pytest.raises(PluginFault, match=rf"data set named of .*my_parts\.py: .*{expected}.*{MEND}"):
        dataset.clips("train")


def named(clips):
    return {"data": {"dataset": {"kind": "named", "root": str(clips)}, "augmentation": {"flip_probability": 0}}}


@pytest.mark.parametrize(
    ("hook", "expected"),
    [
        ("splits(self):\n        raise RuntimeError", r"splits\(\) raised RuntimeError \(line"),
        ("splits(self):\n        return None", r"splits\(\) returned None"),
        ("splits(self):\n        return ('train', 'test', 'dev')", r"splits\(\) has 'dev' · allowed: a tuple of train"),
        ("splits(self):\n        return ('train',)", r"splits\(\) lacks test"),
        ("splits(self):\n        return ('train', 'test', 'test')", r"splits\(\) has a split twice"),
        ("flipped_classes(self):\n        return {0: 9}", r"flipped_classes\(\) has 9, which is no class"),
        ("flipped_classes(self):\n        return [0]", r"flipped_classes\(\) returned a list"),
        ("fingerprint(self):\n        return 3", r"fingerprint\(\) returned an int"),
        ("check(self):\n        1 / 0", r"check\(\) raised ZeroDivisionError"),
    ],
)
def test_other_methods_of_a_data_set(tmp_path, clips, hook, expected):
    spec = made(tmp_path, "    def classes(self)", f"    def {hook}\n\n    def classes(self)", **named(clips))
    with pytest.raises(PluginFault, match=expected):
        getattr(spec.data.dataset, hook.partition("(")[0])()


def test_what_is_allowed_of_a_data_set(tmp_path, clips):
    source = CLIPS.replace("self.classes().index", "np.int64(self.classes().index").replace(
        "[-1]), origin", "[-1])), origin"
    )
    dataset = made(tmp_path, CLIPS, source, **named(clips)).data.dataset
    assert [clip.label for clip in dataset.clips("train")] == [0, 1]
    listed = made(tmp_path, CLASSES, "return ['fall', 'rise']", **named(clips)).data.dataset
    assert listed.classes() == ("fall", "rise")
    own = "from side4video.plugins import InputError\n        raise InputError('mine', 'own words')"
    with pytest.raises(InputError, match="mine: own words") as raised:
        made(tmp_path, CLIPS, own, **named(clips)).data.dataset.clips("train")
    assert not isinstance(raised.value, PluginFault)


def test_the_original_error_is_the_cause(tmp_path, clips):
    with pytest.raises(PluginFault) as raised:
        made(tmp_path, CLIPS, "raise KeyError('x')", **named(clips)).data.dataset.clips("train")
    assert isinstance(raised.value.__cause__, KeyError)
    assert pickle.loads(pickle.dumps(raised.value)).found == raised.value.found  # noqa: S301 - own bytes


def method(**fields):
    return {"method": {"kind": "max-probe", **fields}}


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (READS, "raise ValueError('boom')", r"reads\(\) raised ValueError: boom \(line \d+\)"),
        (READS, "return None", r"reads\(\) returned None · allowed: a FeatureRequest"),
        (READS, "return FeatureRequest(tokens=(1,))", r"reads\(\) returned a FeatureRequest whose tokens are \(1,\)"),
    ],
)
def test_what_a_method_reads(tmp_path, before, after, expected):
    with pytest.raises(PluginFault, match=rf"method max-probe of .*my_parts\.py: {expected}.*{MEND}"):
        made(tmp_path, before, after, **method())


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (BUILD, "raise ValueError('boom')", r"build\(\) raised ValueError: boom \(line \d+\)"),
        (BUILD, "return None", r"build\(\) returned None · allowed: a torch\.nn\.Module"),
        ("output_dim = tower.shape.width", "pass", r"the network has no output_dim · allowed: 32"),
        (
            "output_dim = tower.shape.width",
            "output_dim = 5",
            r"the network's output_dim is 5, and output_dim\(\) .* 32",
        ),
        ("output_dim = tower.shape.width", "output_dim = '32'", r"the network's output_dim is '32'"),
        (FORWARD, "raise ValueError('boom')", r"forward\(\) raised ValueError: boom \(line \d+\)"),
        (FORWARD, "return None", r"forward\(\) returned None · allowed: \[3, 32\] \(clips, output_dim\) in float32"),
        (FORWARD, FORWARD + "[:, :5]", r"forward\(\) returned \[3, 5\] in float32 · allowed: \[3, 32\]"),
        (FORWARD, FORWARD + "[:1]", r"forward\(\) returned \[1, 32\] in float32 · allowed: \[3, 32\]"),
        (FORWARD, FORWARD + ".half()", r"forward\(\) returned \[3, 32\] in float16 · allowed: .* in float32"),
        (FORWARD, FORWARD + ".long()", r"forward\(\) returned \[3, 32\] in int64"),
        (FORWARD, "return features.tokens", r"forward\(\) returned a dict"),
        (FORWARD, "return features.video_BTCHW @ features.layout", r"forward\(\) raised TypeError"),
    ],
)
def test_a_network(tmp_path, before, after, expected):
    spec = made(tmp_path, before, after, **method())
    with pytest.raises(PluginFault, match=rf"method max-probe of .*my_parts\.py: {expected}.*{MEND}"):
        scores(spec)


def scores(spec, module=None):
    tower = spec.backbone.build("cpu")
    module = module or build_student("a", spec, ProcessGroup(), tower).module
    video = torch.zeros((3, 4, 3, 32, 32), dtype=torch.uint8)
    return module(frozen_features(tower, video, FeatureRequest(pooled=True)))


def test_a_plan_says_it_too(tmp_path):
    spec = made(tmp_path, FORWARD, FORWARD + "[:, :5]", **method())
    with pytest.raises(PluginFault, match=r"forward\(\) returned \[1, 5\]"):
        plan_experiment(spec, classes=10)


def test_a_guarded_network_is_the_network(tmp_path):
    """Names of weights, copies and numbers are those of the plug-in's own class."""
    spec = made(tmp_path, "Noise", "Noise", **method())
    module = build_student("a", spec, ProcessGroup(), spec.backbone.build("cpu")).module
    assert next(name for name in module.state_dict() if "mlp" in name) == "network.mlp.0.weight"
    assert type(module.network).__name__ == "Network"
    again = copy.deepcopy(module)
    with torch.no_grad():
        again.network.mlp[1].weight.zero_()
        again.network.mlp[1].bias.zero_()
    assert not torch.equal(scores(spec, module), scores(spec, again))  # the copy computes with its own weights
    assert plan_experiment(spec, classes=10).peak_memory_gib > 0
    with torch.autocast("cpu", torch.bfloat16):
        assert scores(spec, module).shape == (3, 10)


def test_out_of_memory_is_not_the_plugins_fault(tmp_path):
    spec = made(tmp_path, FORWARD, "raise MemoryError", **method())
    with pytest.raises(MemoryError):
        scores(spec)


PAIR = """
    tasks = ("recognition", "retrieval")

    def build_pair(self, tower, text, *, frames):
        from torch import nn

        class Pair(nn.Module):
            output_dim = 24

            def __init__(self):
                super().__init__()
                self.text = text

            def forward(self, features, tokens):
                frames = features.pooled_BTD[..., :24]
                words = self.text(tokens)
                RESULT

        return Pair()

    def reads("""


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("return Pair()", "return None", r"build_pair\(\) returned None"),
        ("self.text = text", "pass", r"the network has no text"),
        (
            "RESULT",
            "return frames",
            r"forward\(\) returned \[2, 4, 24\] in float32 · allowed: features \[2, frames, 24\]",
        ),
        ("RESULT", "return frames, words[:1]", r"forward\(\) returned \(\[2, 4, 24\] in float32, \[1, 5, 24\]"),
        ("RESULT", "return frames, words", ""),
    ],
)
def test_a_network_for_retrieval(tmp_path, before, after, expected):
    spec = made(tmp_path, "\n    def reads(", PAIR.replace(before, after), **method())
    tower = spec.backbone.build("cpu")

    def forward():
        network = spec.method.build_pair(tower, torch.nn.Embedding(9, 24), frames=4)
        video = torch.zeros((2, 4, 3, 32, 32), dtype=torch.uint8)
        features = frozen_features(tower, video, FeatureRequest(pooled=True))
        return network(features, torch.zeros((3, 5), dtype=torch.int64))

    if not expected:
        assert [list(each.shape) for each in forward()] == [[2, 4, 24], [3, 5, 24]]
        return
    with pytest.raises(PluginFault, match=expected):
        forward()


RAISED = r"data\.augmentation\.transforms\.0: transform noise of .*my_parts\.py: apply\(\) raised "


def transforming(tmp_path, statement, **loader):
    changes = {"data": {"augmentation": {"transforms": [{"kind": "noise"}], "flip_probability": 0}, "loader": loader}}
    return made(tmp_path, APPLY, f"{statement}\n        {APPLY}", **changes)


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("raise ValueError('boom')", r"ValueError: boom \(line \d+\)"),
        ("raise SystemExit(0)", r"SystemExit: 0"),
        ("raise BaseException", r"BaseException \(line"),
    ],
)
def test_a_transform_that_raises(tmp_path, statement, expected):
    transforms = transforming(tmp_path, statement).data.augmentation.transforms
    with pytest.raises(PluginFault, match=RAISED + expected + ".* · " + MEND):
        apply_transforms(transforms, np.zeros((2, 8, 8, 3), np.uint8), np.random.default_rng(0))


def test_what_a_transform_returns(tmp_path):
    transforms = transforming(tmp_path, "return None").data.augmentation.transforms
    with pytest.raises(PluginFault, match=r"transform noise of .*: apply\(\) returned NoneType · allowed: uint8"):
        apply_transforms(transforms, np.zeros((2, 8, 8, 3), np.uint8), np.random.default_rng(0))


def test_ctrl_c_in_a_transform_stays_ctrl_c(tmp_path):
    """In the main thread; in a thread of a loader, where Ctrl-C never comes, it is the plug-in's."""
    transforms = transforming(tmp_path, "raise KeyboardInterrupt").data.augmentation.transforms
    frames = np.zeros((2, 8, 8, 3), np.uint8)
    with pytest.raises(KeyboardInterrupt):
        apply_transforms(transforms, frames, np.random.default_rng(0))
    with pytest.raises(PluginFault, match="raised KeyboardInterrupt"):
        run_in_thread(lambda: apply_transforms(transforms, frames, np.random.default_rng(0)), limit_seconds=20)


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("statement", ["raise ValueError('boom')", "raise SystemExit(0)"])
@pytest.mark.timeout(100)
def test_a_loader_ends_at_once(tmp_path, statement, workers):
    """The twin waited for `loader.timeout_seconds`, and blamed the decoder."""
    spec = transforming(tmp_path, statement, workers=workers).data
    spec.dataset.prepare()
    reader = TrainingReader(spec, spec.dataset.clips("train"), positions=[0], mirrored={})
    prefetcher = (ProcessPrefetcher if workers else thread_prefetcher)(reader, spec.loader)
    try:
        with pytest.raises(PluginFault, match=f"{RAISED}{statement.split()[1].partition('(')[0]}"):
            list(prefetcher.read([[TrainingKey(0, 0)]]))
    finally:
        prefetcher.close()


class Leaving:
    """A reader that leaves as a library may, by `SystemExit`."""

    def read(self, keys):
        raise SystemExit(7)


@pytest.mark.timeout(60)
def test_a_thread_that_ends_in_silence_is_told():
    prefetcher = thread_prefetcher(Leaving(), LoaderSpec(workers=0, timeout_seconds=50))
    with pytest.raises(Side4VideoError, match="what reads videos ended with SystemExit: 7"):
        list(prefetcher.read([[TrainingKey(0, 0)]]))
    with pytest.raises(Side4VideoError, match="SystemExit: 7"):
        run_in_thread(lambda: Leaving().read([]), limit_seconds=50)


def test_a_process_that_receives_a_part_guards_it(tmp_path):
    spec = made(tmp_path, READS, "return None if frames == 99 else FeatureRequest(pooled=True)", **method())
    packet = tmp_path / "method.pickle"
    packet.write_bytes(pickle.dumps(spec.method))
    code = f"import pickle; pickle.load(open({str(packet)!r}, 'rb')).reads(None, frames=99)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert re.search(r"method max-probe of .*my_parts\.py: reads\(\) returned None", done.stderr), done.stderr


def test_only_the_outermost_method_is_checked(tmp_path, clips):
    """A data set that asks itself for its classes at each clip pays for one check."""
    spec = made(tmp_path, CLASSES, "CALLS.append(1)\n        return ('fall', 'rise')", **named(clips))
    module = sys.modules[type(spec.data.dataset).__module__]
    module.CALLS = []
    assert len(spec.data.dataset.clips("train")) == 2
    assert len(module.CALLS) == 2 + 1  # by the source itself, and once by the check


def test_threads_do_not_share_the_mark(tmp_path, clips):
    dataset = made(tmp_path, CLIPS, "return None", **named(clips)).data.dataset
    found = queue.SimpleQueue()

    def ask():
        try:
            dataset.clips("train")
        except PluginFault as error:
            found.put(str(error))

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert "returned None" in found.get(timeout=5)


@pytest.mark.parametrize(
    ("statement", "expected"),
    [("raise SystemExit(0)", r"SystemExit: 0 \(line \d+\)"), ("return 'much'", "ValueError: could not convert")],
)
def test_a_metric(tmp_path, statement, expected):
    metric = made(tmp_path, "return float((found", f"{statement}\n    return float((found").plugin_metrics[0]
    with pytest.raises(
        PluginFault, match=rf"the metric share_sure of .*my_parts\.py: {expected}.* · allowed: .*{MEND}"
    ):
        metric.value(None)


def test_a_validator(tmp_path):
    """What pydantic does not take for a mistake of the user."""
    validator = (
        "@field_validator('strength')\n    def check_it(cls, value):\n        return {}[value]\n\n    def apply("
    )
    source = SOURCE.replace("def apply(", validator).replace(
        "import numpy", "from pydantic import field_validator\nimport numpy"
    )
    file = write_plugin(tmp_path / "mine", source)
    allow_plugins(file)
    expected = r"transform noise of .*my_parts\.py: the check of its fields raised KeyError: 8 \(line \d+\)"
    with pytest.raises(PluginFault, match=expected):
        tiny(plugins=[str(file)], data={"augmentation": {"transforms": [{"kind": "noise"}]}})
