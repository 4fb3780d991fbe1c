"""Weights come from files of several makers, exactly."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from side4video.core.errors import InputError
from side4video.models.towers import load
from weight_states import TEXT, file_weights, prefixed, state_of

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.*:FutureWarning", "ignore::torch.jit.TracerWarning")


class Archive(nn.Module):
    """A whole CLIP as OpenAI published it: scripted, with numbers kept as tensors."""

    def __init__(self, visual):
        super().__init__()
        self.visual = visual
        self.logit_scale = nn.Parameter(torch.tensor(4.6))
        for name, value in {"input_resolution": 32, "context_length": 77, "vocab_size": 9}.items():
            self.register_buffer(name, torch.tensor(value))

    def forward(self, frames_NCHW):
        return self.visual(frames_NCHW) * self.logit_scale


def save_archive(visual, path):
    torch.jit.save(torch.jit.trace(Archive(visual).eval(), torch.zeros(1, 3, 32, 32)), path)


LAYOUTS = {
    "bare safetensors": lambda state, path: save_file(state, path),
    "open_clip safetensors": lambda state, path: save_file(prefixed(state, "visual.") | TEXT, path),
    "open_clip torch file": lambda state, path: torch.save(prefixed(state, "visual.") | TEXT, path),
    "training checkpoint": lambda state, path: torch.save(
        {"epoch": 3, "state_dict": prefixed(prefixed(state, "visual.") | TEXT, "module.")}, path
    ),
    "compiled": lambda state, path: torch.save(prefixed(prefixed(state, "visual.") | TEXT, "_orig_mod."), path),
    "in a module beside a head": lambda state, path: torch.save(
        {"state_dict": {**prefixed(prefixed(state, "visual.") | TEXT, "clip."), "head.weight": torch.zeros(2, 3)}}, path
    ),
    "parallel, compiled, in Lightning": lambda state, path: torch.save(
        {"state_dict": prefixed(prefixed(state, "visual.") | TEXT, "module._orig_mod.model.")}, path
    ),
    "a tower alone as a backbone": lambda state, path: save_file(prefixed(state, "backbone."), path),
    "a tower alone beside a head": lambda state, path: save_file(
        {**prefixed(state, "backbone."), "head.weight": torch.zeros(2, 3)}, path
    ),
    "in modules of other names": lambda state, path: save_file(
        {**prefixed(prefixed(state, "visual.") | TEXT, "net.video_encoder."), "net.fc.bias": torch.zeros(2)}, path
    ),
    "compiled inside": lambda state, path: save_file(prefixed(state, "model.visual._orig_mod."), path),
    "sharded and compiled": lambda state, path: save_file(
        prefixed(prefixed(state, "_fsdp_wrapped_module.visual._orig_mod.") | TEXT, "_orig_mod."), path
    ),
    "nested wrappers": lambda state, path: torch.save({"model": {"state_dict": state}, "step": 1}, path),
    "torch file of before 1.6": lambda state, path: torch.save(state, path, _use_new_zipfile_serialization=False),
    "sliced tensors": lambda state, path: torch.save(
        {name: torch.cat([tensor, tensor])[: len(tensor)] for name, tensor in state.items()}, path
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_weights(build, source, tmp_path, layout):
    path = tmp_path / "weights.bin"  # the kind of a file is told by its content
    LAYOUTS[layout](state_of(source), path)
    tower = build("clip", weights=file_weights(path))
    assert tower.fingerprint() == source.fingerprint()
    assert all(torch.equal(tensor, state_of(source)[name]) for name, tensor in state_of(tower).items())


def test_openais_archive_is_read_without_running_it(build, tmp_path):
    source = build("clip-quick-gelu", weights={"kind": "random", "seed": 3})
    path = tmp_path / "ViT-B-16.pt"
    save_archive(source.trunk.visual, path)
    assert build("clip-quick-gelu", weights=file_weights(path)).fingerprint() == source.fingerprint()


def test_an_archives_tensors_may_be_parts_of_others(build, tmp_path):
    source = build("clip-quick-gelu")
    state, visual = state_of(source), source.trunk.visual
    visual.proj.data = torch.stack([torch.zeros(24, 32), state["proj"].t()])[1].t()  # an offset, and other strides
    save_archive(visual, tmp_path / "views.pt")
    loaded = build("clip-quick-gelu", weights=file_weights(tmp_path / "views.pt"))
    assert torch.equal(state_of(loaded)["proj"], state["proj"])
    assert loaded.fingerprint() == source.fingerprint()


def test_openais_archive_in_half_precision(build, tmp_path):
    source = build("clip-quick-gelu")
    halves = {name: tensor.half() for name, tensor in state_of(source).items()}
    path = tmp_path / "half.pt"
    scripted = torch.jit.trace(Archive(source.trunk.visual).eval(), torch.zeros(1, 3, 32, 32)).half()
    torch.jit.save(scripted, path)
    tower = build("clip-quick-gelu", weights=file_weights(path))
    assert tower.fingerprint() == load.fingerprint_of(halves)


def test_openais_archive_in_a_gelu_tower_is_refused(build, tmp_path):
    path = tmp_path / "ViT-B-16.pt"
    save_archive(build("clip-quick-gelu").trunk.visual, path)
    with pytest.raises(InputError, match="OpenAI's weights, trained with QuickGELU"):
        build("clip", weights=file_weights(path))


@pytest.mark.parametrize("kind", ["eva-post-norm", "eva-pre-norm", "eva-rotary"])
def test_eva_files_of_both_makers(build, tmp_path, kind):
    """open_clip's file has timm's names; EVA-CLIP's own release has others for the gated towers."""
    source = build(kind, weights={"kind": "random", "seed": 3})
    save_file(prefixed(state_of(source), "visual.trunk.") | prefixed(TEXT, "text."), tmp_path / "open_clip.safetensors")
    release = {}
    for name, tensor in state_of(source).items():
        for ours, theirs in [
            ("attn.norm.", "attn.inner_attn_ln."),
            ("mlp.norm.", "mlp.ffn_ln."),
            ("mlp.fc1_g.", "mlp.w1."),
            ("mlp.fc1_x.", "mlp.w2."),
            ("mlp.fc2.", "mlp.w3." if kind == "eva-rotary" else "mlp.fc2."),
            ("q_proj.bias", "q_bias"),
            ("v_proj.bias", "v_bias"),
        ]:
            name = name.replace(ours, theirs)
        release[name] = tensor
    if kind == "eva-rotary":
        release |= {"rope.freqs_cos": torch.zeros(16, 16), "blocks.0.attn.rope.freqs_sin": torch.zeros(16, 16)}
        assert "blocks.0.mlp.w1.weight" in release
    torch.save({"module": prefixed(release, "visual.") | prefixed(TEXT, "text.")}, tmp_path / "release.pt")
    for path in tmp_path.iterdir():
        assert build(kind, weights=file_weights(path)).fingerprint() == source.fingerprint(), path.name


def test_the_names_are_those_that_timms_own_converter_gives(eva_trunk):
    from timm.models.eva import checkpoint_filter_fn

    trunk = eva_trunk()
    names = [
        "cls_token",
        "norm.weight",
        "head.bias",
        "rope.freqs_cos",
        "blocks.0.attn.rope.freqs_cos",
        "blocks.0.attn.q_bias",
        "blocks.0.attn.v_bias",
        "blocks.0.attn.q_proj.weight",
        "blocks.0.attn.k_proj.weight",
        "blocks.0.attn.inner_attn_ln.weight",
        "blocks.0.attn.proj.bias",
        "blocks.0.mlp.w1.weight",
        "blocks.0.mlp.w2.bias",
        "blocks.0.mlp.w3.weight",
        "blocks.0.mlp.ffn_ln.bias",
        "blocks.0.norm1.weight",
    ]
    state = {name: torch.zeros(1) for name in names}
    assert list(trunk.rename(state)) == list(checkpoint_filter_fn(state, trunk.visual))


def test_half_precision_files_are_upcast(build, source, tmp_path):
    halves = {name: tensor.half() for name, tensor in state_of(source).items()}
    save_file(halves, tmp_path / "half.safetensors")
    save_file({name: tensor.float() for name, tensor in halves.items()}, tmp_path / "float.safetensors")
    towers = [build("clip", weights=file_weights(path)) for path in sorted(tmp_path.iterdir())]
    assert all(parameter.dtype == torch.float32 for tower in towers for parameter in tower.parameters())
    assert towers[0].fingerprint() == towers[1].fingerprint() != source.fingerprint()


def test_the_fingerprint_is_of_the_weights_and_of_nothing_else(family, build):
    plain = build(family).fingerprint()
    assert len(plain) == 64
    assert build(family, precision="bf16", chunk_frames=2).fingerprint() == plain
    assert build(family, weights={"kind": "random", "seed": 1}).fingerprint() != plain


def test_the_fingerprint_sees_one_value_one_name_and_one_shape(source):
    state = state_of(source)
    plain = load.fingerprint_of(state)
    assert plain == source.fingerprint() == load.fingerprint_of(dict(reversed(state.items())))
    changed = state | {"proj": state["proj"].clone()}
    changed["proj"][3, 4] = torch.nextafter(changed["proj"][3, 4], torch.tensor(9.0))
    renamed = {name.replace("proj", "projection") if name == "proj" else name: t for name, t in state.items()}
    reshaped = state | {"proj": state["proj"].reshape(24, 32)}
    assert len({plain, *map(load.fingerprint_of, (changed, renamed, reshaped))}) == 4


def test_the_weights_outlive_their_file(build, source, tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file(state_of(source), path)
    tower = build("clip", weights=file_weights(path))
    with path.open("r+b") as file:  # in place: a mapped tensor would change with it
        file.seek(path.stat().st_size // 2)
        file.write(b"\xff" * (path.stat().st_size // 2))
    assert all(torch.equal(tensor, state_of(source)[name]) for name, tensor in state_of(tower).items())


def test_a_path_may_name_a_variable(build, source, tmp_path, monkeypatch):
    save_file(state_of(source), tmp_path / "weights.safetensors")
    monkeypatch.setenv("SIDE4VIDEO_WEIGHTS", str(tmp_path))
    tower = build("clip", weights=file_weights("${SIDE4VIDEO_WEIGHTS}/weights.safetensors"))
    assert tower.fingerprint() == source.fingerprint()
