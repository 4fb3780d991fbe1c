"""The encoders of BLIP: transformers' own numbers, its files at other frame sizes, texts, and one-line errors."""

import sys

import pytest
import torch

import blip_files
import blip_toys
import oracle
from side4video.core.errors import InputError
from side4video.models.backbones.blip import REPOSITORIES, VOCABULARY, BlipSpec
from side4video.models.backbones.pretrained import all_pretrained, find_pretrained
from side4video.models.towers.blip_text import TOKENIZER
from side4video.models.towers.blip_trunk import resized_positions
from side4video.models.towers.tokenizer import TextTokenizer
from tiny_tokenizer import write_tokenizer


def document(**changed):
    return BlipSpec.model_validate(blip_toys.document(**changed))


@pytest.mark.parametrize("size", [12, 20, 8])
@torch.no_grad()
def test_frames_of_any_size_are_the_librarys(size, tmp_path):
    """transformers resizes positions in its forward, here it is done when the file is read."""
    model, weights = blip_files.write(tmp_path)
    tower = document(weights=weights, image_size=size).build()
    frames_NCHW = tower.normalise(oracle.make_video(size=size)[0])
    expected = model.vision_model(frames_NCHW, interpolate_pos_encoding=True, output_hidden_states=True)
    tokens = tower(frames_NCHW, [0, 1])
    torch.testing.assert_close(tokens[0], expected.hidden_states[1], rtol=1e-5, atol=1e-5)
    feature = tower.pool(tokens[1])
    torch.testing.assert_close(feature, expected.last_hidden_state[:, 0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(tower.project(feature), model.vision_proj(feature), rtol=1e-5, atol=1e-5)


def test_positions_are_resized_but_for_the_class_tokens():
    positions_1PD = torch.randn(1, 17, 4)
    resized = resized_positions(positions_1PD, 26)
    assert resized.shape == (1, 26, 4)
    assert torch.equal(resized[:, 0], positions_1PD[:, 0])
    with pytest.raises(ValueError, match="square of patches"):
        resized_positions(positions_1PD[:, :-1], 26)


def test_a_step_of_the_trunk_is_both_of_its_branches():
    tower = blip_toys.image_tower()
    tokens_NPD = torch.randn(2, 10, 16)
    trunk = tower.trunk
    attended = tokens_NPD + trunk.attention_branch(1, tokens_NPD)
    assert torch.equal(trunk.run_block(1, tokens_NPD), attended + trunk.mlp_branch(1, attended))
    with pytest.raises(NotImplementedError, match="cannot be read"):
        trunk.run_block(1, tokens_NPD, [])
    last = trunk.last_layers()
    expected = torch.addmm(last.bias_E, last.norm(tokens_NPD[:, 0]), last.weight_DE)
    torch.testing.assert_close(tower.project(tower.pool(tokens_NPD)), expected)


def test_random_weights_are_those_of_the_seed():
    towers = [document(weights={"kind": "random", "seed": seed}).build() for seed in (0, 0, 1)]
    assert towers[0].fingerprint() == towers[1].fingerprint() != towers[2].fingerprint()
    texts = [document(weights={"kind": "random", "seed": seed}).build_text_tower() for seed in (0, 0, 1)]
    same, other = (
        all(torch.equal(*pair) for pair in zip(texts[0].parameters(), each.parameters(), strict=True))
        for each in texts[1:]
    )
    assert same
    assert not other
    assert float(texts[0].logit_scale.exp()) == pytest.approx(1 / 0.07)


def test_a_file_without_a_part_and_one_of_other_sizes_are_one_line(tmp_path):
    _, weights = blip_files.write(tmp_path, without="vision_model.post_layernorm")
    with pytest.raises(InputError, match=r"does not fit the tower: 2 of \d+ tensors are missing .*post_layernorm"):
        document(weights=weights).build()
    _, weights = blip_files.write(tmp_path, without="itm_head")
    with pytest.raises(InputError, match=r"does not fit the text encoder: 2 of \d+ tensors are missing .*itm_head"):
        document(weights=weights).build_text_tower()
    _, weights = blip_files.write(tmp_path)
    with pytest.raises(InputError, match=r"the file does not fit the tower: .*have another shape") as error:
        document(weights=weights, width=24).build()
    assert "open_clip" not in str(error.value)
    with pytest.raises(InputError, match=r"the file does not fit the text encoder: .*have another shape"):
        document(weights=weights, width=24).build_text_tower()


def test_without_transformers_the_error_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers.models.blip.configuration_blip", None)
    for name in ("blip_trunk", "blip_text"):
        monkeypatch.delitem(sys.modules, f"side4video.models.towers.{name}", raising=False)
    message = r"backbone\.kind: blip is a network of transformers, and .* is not installed · fix: pip install 'side4v"
    for build in (document().build, document().build_text_tower):
        with pytest.raises(InputError, match=message):
            build()


def test_texts_are_read_at_their_first_token(tmp_path):
    tokenizer = TextTokenizer({**TOKENIZER, "tokenizer": str(write_tokenizer(tmp_path, "clipa"))})
    tokens_QW = tokenizer(["a cat runs left", ""], words=8)
    assert tokens_QW[:, 0].tolist() == [2, 2]  # [CLS]
    assert (tokens_QW != 0).sum(dim=1).tolist() == [6, 2]
    assert tokenizer.feature_positions(tokens_QW).tolist() == [0, 0]
    assert tokenizer.ends(tokens_QW).tolist() == [5, 1]
    assert tokenizer.is_empty("")


def test_pretrained_weights_are_on_the_hub():
    found = {each.tag: each for each in all_pretrained() if each.model == "blip-itm-base"}
    assert {tag: each.repository for tag, each in found.items()} == REPOSITORIES
    assert find_pretrained("blip-itm-base", "coco") == found["coco"]
    assert document(weights={"kind": "pretrained", "tag": "coco"}).library_model == "blip-itm-base"


def test_sizes():
    shape = BlipSpec(weights={"kind": "random"}).shape()
    assert (shape.width, shape.depth, shape.heads, shape.output_dim, shape.tokens) == (768, 12, 12, 256, 197)
    assert shape.layer_norm_epsilon == 1e-6
    assert VOCABULARY == 30_524
