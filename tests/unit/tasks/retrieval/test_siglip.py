"""Retrieval with SigLIP 2's towers and loss: open_clip's own features at first, its own loss, and a trained step.

The towers are those of `ViT-B-32-SigLIP2-256` with three blocks and a small vocabulary.
"""

from dataclasses import replace

import pytest
import torch
from open_clip.loss import SigLipLoss
from open_clip.model import CustomTextCLIP
from torch.nn import functional as F

from library_towers import DEPTH, of_depth, small_config
from side4video.core.errors import InputError
from side4video.engine.pack import Pack
from side4video.engine.process_group import ProcessGroup
from side4video.engine.step import Plan, train_step
from side4video.engine.step_timer import StepTimer
from side4video.models.backbones import open_clip as backbone_module
from side4video.models.backbones.timm_models import timm_models
from side4video.models.backbones.weights import FileWeights, RandomWeights
from side4video.models.frozen_features import features_of_batch
from side4video.run import build_student
from side4video.tasks.retrieval.text_video import Texts, TextVideo
from tiny import tiny
from tiny_tokenizer import write_tokenizer

MODEL = "ViT-B-32-SigLIP2-256"
CAPTIONS = [("a cat runs left",), ("a dog",), ("a dog runs right",)]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """open_clip's model with random weights, and its file."""
    folder = tmp_path_factory.mktemp("siglip")
    torch.manual_seed(0)
    with of_depth(DEPTH):
        config = small_config(MODEL)
        model = CustomTextCLIP(
            config["embed_dim"], config["vision_cfg"], config["text_cfg"], init_logit_bias=config["init_logit_bias"]
        ).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape), alpha=0.02)
    torch.save(model.state_dict(), folder / "siglip.pt")
    write_tokenizer(folder / "tokenizer", "siglip2")
    return model, folder


@pytest.fixture
def spec(weights, monkeypatch):
    """`spec(method, **task)`: an experiment on that file."""
    _, folder = weights
    monkeypatch.setattr(backbone_module, "read_config", lambda _: small_config(MODEL))
    name = small_config(MODEL)["vision_cfg"]["timm_model_name"]
    known = timm_models()[name]
    small = replace(known, shape=replace(known.shape, depth=DEPTH))
    monkeypatch.setattr(backbone_module, "timm_models", lambda: {name: small})

    def make(method, **task):
        with of_depth(DEPTH):
            return tiny(
                backbone={
                    "kind": "open-clip",
                    "model": MODEL,
                    "weights": {"kind": "file", "path": str(folder / "siglip.pt")},
                    "tokenizer": str(folder / "tokenizer"),
                    "precision": "fp32",
                },
                method=method,
                task={"kind": "retrieval", "words": 64, "matching": {"kind": "mean"}, **task},
                data={"size": 256, "frames": 2},
            )

    return make


def student_of(experiment):
    with of_depth(DEPTH):
        tower = experiment.backbone.build()
    return tower, build_student("a", experiment, ProcessGroup(), tower)


class Batch:
    """Three clips of two frames with a caption each."""

    def __init__(self):
        generator = torch.Generator().manual_seed(3)
        self.video_BTCHW = torch.randint(0, 256, (3, 2, 3, 256, 256), dtype=torch.uint8, generator=generator)
        self.labels_B, self.captions = torch.zeros(3, dtype=torch.int64), CAPTIONS
        self.indices_B, self.views_B = torch.arange(3), torch.zeros(3, dtype=torch.int64)

    def __len__(self):
        return 3

    def to(self, device):
        return self


def test_frozen_features_are_open_clips(weights, spec):
    model, _ = weights
    tower, student = student_of(spec({"kind": "zero-shot"}))
    batch = Batch()
    features = features_of_batch(tower, batch, student.reads)
    student.module.eval()
    with torch.no_grad():
        texts, videos = student.module(features, student.task.targets(batch))
        tokens_QW = student.task.targets(batch).tokens_QW
        frames_NE = model.encode_image(tower.normalise(batch.video_BTCHW.flatten(0, 1)), normalize=True)
        expected = F.normalize(frames_NE.unflatten(0, (3, 2)).mean(1), dim=-1)
        torch.testing.assert_close(videos[0], expected, rtol=0, atol=1e-5)
        torch.testing.assert_close(texts[0], model.encode_text(tokens_QW, normalize=True), rtol=0, atol=1e-5)


def test_before_the_first_step_the_side_network_changes_nothing(weights, spec):
    model, _ = weights
    tower, student = student_of(spec({"kind": "side4video", "layers": 2, "dim": 64}, loss="sigmoid"))
    batch = Batch()
    assert student.reads.pooled
    frames_BTE = student.module.network.video(features_of_batch(tower, batch, student.reads))
    with torch.no_grad():
        expected = model.encode_image(tower.normalise(batch.video_BTCHW.flatten(0, 1)))
    torch.testing.assert_close(frames_BTE.flatten(0, 1), expected, rtol=0, atol=1e-5)
    assert float(student.module.bias.bias) == float(model.logit_bias)


def test_the_bias_of_a_file_of_a_training_loop_is_read(weights, spec, tmp_path):
    model, _ = weights
    bias = torch.full_like(model.logit_bias, -12.5)
    state = {**model.state_dict(), "logit_bias": bias}
    torch.save({f"module.{name}": tensor for name, tensor in state.items()}, tmp_path / "trained.pt")
    experiment = spec({"kind": "zero-shot"}, loss="sigmoid")
    wrapped = experiment.backbone.model_copy(update={"weights": FileWeights(path=str(tmp_path / "trained.pt"))})
    with of_depth(DEPTH):
        assert wrapped.build_text_tower().logit_bias == -12.5


def test_random_weights_begin_with_siglips_bias(spec):
    experiment = spec({"kind": "side4video", "layers": 2, "dim": 64}, loss="sigmoid")
    random = experiment.backbone.model_copy(update={"weights": RandomWeights()})
    _, student = student_of(experiment.model_copy(update={"backbone": random}))
    assert student.module.bias.bias.item() == -10


def test_the_loss_is_open_clips():
    task = TextVideo(words=64, tokenizer=None, loss="sigmoid", rescoring=None, keep="fp32")
    generator = torch.Generator().manual_seed(0)
    texts, images = (F.normalize(torch.randn(5, 8, generator=generator), dim=-1) for _ in range(2))
    scale, bias = torch.tensor(9.0), torch.tensor(-7.0)
    expected = SigLipLoss()(images, texts, scale, bias)
    own = Texts(torch.zeros(5, 64), torch.arange(5))
    assert float(task.loss(texts @ images.t() * scale + bias, own)) == pytest.approx(5 * float(expected), rel=1e-6)


def test_a_step_moves_both_towers_scale_and_bias(spec):
    tower, student = student_of(spec({"kind": "side4video", "layers": 2, "dim": 64}, loss="sigmoid"))
    pack = Pack.of_one_tower(lambda batch, reads: features_of_batch(tower, batch, reads), [student])
    before = {name: each.detach().clone() for name, each in student.module.named_parameters()}
    for step in range(2):
        train_step(
            pack, [Batch()], step=step, plan=Plan(steps=3, steps_per_epoch=3), timer=StepTimer(torch.device("cpu"))
        )
    moved = {name for name, each in student.module.named_parameters() if not torch.equal(before[name], each)}
    assert {"bias.bias", "scale.logarithm", "network.video.up_dD"} <= moved
    assert any(name.startswith("network.text.") for name in moved)


@pytest.mark.parametrize(
    ("method", "task", "message"),
    [
        (
            {"kind": "zero-shot"},
            {"words": 32},
            r"task\.words: 32, and the text tower .* reads a text at the last of 64",
        ),
        ({"kind": "clip-prompt"}, {"words": 20}, r"method\.kind: clip-prompt, which is for text towers whose tokens"),
        ({"kind": "stan"}, {}, r"method\.kind: stan"),
    ],
)
def test_what_does_not_fit_is_said(spec, method, task, message):
    with pytest.raises(InputError, match=message):
        spec(method, **task)
