"""CLIP-Prompt against an independent float64 statement of it, outputs and gradients, on both sides."""

import pytest
import torch

import clip_prompt_statement as statement
import oracle
import text_pairs
import toys
from side4video.core.errors import InputError
from side4video.core.seeds import seeded
from side4video.models.backbones.open_clip import OpenCLIPSpec
from side4video.models.methods.clip_prompt import CLIPPromptSpec
from side4video.models.networks.clip_prompt import OrderedFrames, PromptedText
from side4video.spec.optimization import OptimizationSpec
from tiny import merged, tiny

SPEC = CLIPPromptSpec(prefix=3, postfix=2)
PROMPTS = {"both": (3, 2), "in front": (4, 0), "behind": (0, 5), "none": (0, 0)}
RETRIEVAL = {
    "task": {"kind": "retrieval", "matching": {"kind": "mean"}},
    "backbone": {"text": {"kind": "transformer", "width": 32, "layers": 2, "head_width": 8}},
}


def prompted(prefix=3, postfix=2, **options):
    _, text = text_pairs.make_towers(**options)
    with seeded(3):
        network = PromptedText(text, prefix=prefix, postfix=postfix)
    with seeded(5), torch.no_grad():
        network.prompts_LD.add_(0.3 * torch.randn_like(network.prompts_LD))
    return network


def true_words(network, tokens_QW, *, quick=False, twin=""):
    state, tower = oracle.double(network, trains=True), oracle.double(network.tower.transformer, trains=False)
    sizes = {"depth": network.tower.depth, "heads": network.tower.heads, "quick": quick}
    prompts = {"prefix": network.prefix, "postfix": network.postfix}
    return statement.words(tokens_QW, tower, state, **sizes, **prompts, twin=twin), state


def ordered(*, layers=2, frames=3, batch=2, **options):
    tower, _ = text_pairs.make_towers(**options)
    with seeded(3):
        network = OrderedFrames(tower, frames=frames, layers=layers)
    for part in (network.blocks, torch.nn.ParameterList([network.positions_TE])):
        oracle.perturb(part, seed=5)
    video = oracle.make_video(batch=batch, frames=frames, size=options.get("size", 12))
    return tower, network, text_pairs.read(SPEC, tower, video)


def true_frames(tower, network, features, *, twin=""):
    state = oracle.double(network, trains=True)
    out = statement.frames(
        tower.normalise(features.video_BTCHW).double(),
        oracle.double(tower.trunk.visual, trains=False),
        state,
        depth=tower.shape.depth,
        heads=tower.shape.heads,
        quick=tower.shape.quick_gelu,
        layers=len(network.blocks),
        own_heads=max(1, tower.shape.output_dim // 64),
        twin=twin,
    )
    return out, state


@pytest.mark.parametrize("prompts", PROMPTS)
def test_texts_and_gradients_equal_the_statement(prompts):
    network, tokens_QW = prompted(*PROMPTS[prompts], quick=prompts == "behind"), text_pairs.make_tokens()
    expected, state = true_words(network, tokens_QW, quick=prompts == "behind")
    found = text_pairs.up_to_the_end(network(tokens_QW), tokens_QW)
    if prompts == "none":
        assert oracle.difference(found, expected) < 2e-5
        theirs = text_pairs.up_to_the_end(network.tower(tokens_QW), tokens_QW)
        torch.testing.assert_close(found, theirs, rtol=1e-5, atol=1e-6)
    else:
        oracle.assert_equal(found, expected, network, state)


def test_a_text_of_nothing_but_begin_and_end():
    network, tokens_QW = prompted(), text_pairs.make_tokens(((text_pairs.BEGIN, text_pairs.END, 0),))
    expected, state = true_words(network, tokens_QW)
    oracle.assert_equal(text_pairs.up_to_the_end(network(tokens_QW), tokens_QW), expected, network, state)


@pytest.mark.parametrize("case", [{"layers": 2}, {"layers": 1}, {"output_dim": 128, "quick": True}], ids=str)
def test_frames_and_gradients_equal_the_statement(case):
    tower, network, features = ordered(**case)
    expected, state = true_frames(tower, network, features)
    oracle.assert_equal(network(features), expected, network, state)


@oracle.odd_shapes
def test_odd_shapes(shape):
    tower, network, features = ordered(**shape)
    expected, state = true_frames(tower, network, features)
    oracle.assert_equal(network(features), expected, network, state)


def test_the_statement_tells_twins_apart():
    network, tokens_QW = prompted(), text_pairs.make_tokens()
    found = text_pairs.up_to_the_end(network(tokens_QW), tokens_QW)
    for twin in ("rows in order", "end in front"):
        assert oracle.difference(found, true_words(network, tokens_QW, twin=twin)[0]) > 1e-3, twin
    tower, network, features = ordered()
    for twin in ("no time", "residual", "gelu"):
        assert oracle.difference(network(features), true_frames(tower, network, features, twin=twin)[0]) > 1e-3, twin


def test_what_stands_behind_the_end_reaches_nothing():
    network, tokens_QW = prompted(), text_pairs.make_tokens()
    before = text_pairs.up_to_the_end(network(tokens_QW), tokens_QW)
    longest = int(tokens_QW.argmax(-1).max())
    with torch.no_grad():
        network.prompts_LD[longest + network.prefix + network.postfix :] += 1
        network.prompts_LD[0] += 1
    assert torch.equal(text_pairs.up_to_the_end(network(tokens_QW), tokens_QW), before)
    with torch.no_grad():
        network.prompts_LD[1] += 1
    assert not torch.equal(text_pairs.up_to_the_end(network(tokens_QW), tokens_QW), before)


def test_a_text_is_the_same_beside_longer_ones_and_more_padding():
    network, tokens_QW = prompted(), text_pairs.make_tokens()
    alone_QW = tokens_QW[1:2, :3]
    torch.testing.assert_close(network(alone_QW)[0], network(tokens_QW)[1, :3])


def test_the_authors_number_of_parameters():
    """6,352,384 with two blocks: the table 77 x 512, 16 places in time x 512, and two blocks of 12 E^2 + 13 E."""
    backbone = OpenCLIPSpec(model="ViT-B-16", weights={"kind": "random", "seed": 0})
    tower, text = backbone.build("meta"), backbone.build_text_tower("meta").requires_grad_(False)
    with torch.device("meta"):
        counts = {
            layers: sum(
                p.numel()
                for p in CLIPPromptSpec(layers=layers).build_pair(tower, text, frames=16).parameters()
                if p.requires_grad
            )
            for layers in (1, 2)
        }
    assert counts[2] == 77 * 512 + 16 * 512 + 2 * (12 * 512**2 + 13 * 512) == 6_352_384
    assert counts[1] == counts[2] - (12 * 512**2 + 13 * 512)


def test_initial_values_are_the_authors():
    tower, text = text_pairs.make_towers(output_dim=256, text_width=64)
    with seeded(0):
        network = SPEC.build_pair(tower, text, frames=40)
    for drawn in (network.text.prompts_LD, network.video.positions_TE):
        assert drawn.detach().std().item() == pytest.approx(0.01, rel=0.05)
    block = network.video.blocks[0]
    assert block.attention_norm.eps == block.perceptron_norm.eps == 1e-5
    assert not any(bias.any() for bias in (block.query_key_value.bias, block.leave_attention.bias))
    # Xavier's uniform over the matrix of queries, keys and values: variance 2 / (inputs + outputs).
    assert block.query_key_value.weight.detach().std().item() == pytest.approx((2 / (4 * 256)) ** 0.5, rel=0.02)


def test_prompts_and_blocks_are_trained_and_nothing_else():
    """Rows of the table that no text reaches stay; the tensor as a whole moves."""
    tower, text = text_pairs.make_towers()
    task, module = text_pairs.assemble(SPEC, tower, text)
    names = text_pairs.trained_names(module)
    own = ("network.text.prompts_LD", "network.video.positions_TE", "network.video.blocks.")
    assert names == {name for name, _ in module.named_parameters() if name.startswith(own)}
    everything = [*module.named_parameters(), *tower.named_parameters()]
    before = {name: parameter.clone() for name, parameter in everything}
    text_pairs.train(module, task, text_pairs.read(SPEC, tower, oracle.make_video()))
    assert {name for name, parameter in everything if not torch.equal(before[name], parameter)} == names
    assert all(parameter.grad is None for parameter in (*tower.parameters(), *text.parameters()))


def test_a_twin_that_trains_the_projection_is_seen():
    tower, text = text_pairs.make_towers()
    _, module = text_pairs.assemble(SPEC, tower, text)
    module.network.video.frames.requires_grad_(True)
    assert "network.video.frames.projection.weight_DE" in text_pairs.trained_names(module)


def test_students_of_a_pack_share_a_pass_and_leave_it_as_it_is():
    tower, _ = text_pairs.make_towers()
    methods = [SPEC, CLIPPromptSpec(prefix=1, postfix=1, layers=1)]
    video = oracle.make_video()
    together, is_untouched = text_pairs.train_in_a_pack(methods, tower, video)
    assert is_untouched
    for method, learnt in zip(methods, together, strict=True):
        (alone,), _ = text_pairs.train_in_a_pack([method], tower, video)
        assert toys.same(learnt, alone)


def test_a_twin_that_writes_into_the_pass_is_seen():
    tower, _ = text_pairs.make_towers()
    video = oracle.make_video()
    methods = [SPEC, SPEC]
    (first, second), is_untouched = text_pairs.train_in_a_pack(
        methods, tower, video, spoil=lambda features: features.class_BTD.mul_(1.1)
    )
    assert not is_untouched
    assert not toys.same(first, second)


@pytest.mark.parametrize("family", toys.FAMILIES)
def test_it_reads_the_last_class_token_of_every_tower(family):
    tower = toys.toy_tower(family=family)
    reads = SPEC.frame_request(tower.shape, frames=toys.FRAMES)
    assert SPEC.packable
    assert (reads.class_token, reads.tokens, reads.pooled) == (True, frozenset(), False)
    network = OrderedFrames(tower, frames=toys.FRAMES, layers=1)
    found = network(text_pairs.read(SPEC, tower, toys.make_batch(0).video_BTCHW))
    assert found.shape == (toys.BATCH, toys.FRAMES, tower.shape.output_dim)


def test_half_precision_comes_from_the_tower_and_autocast():
    tower, network, features = ordered(precision="bf16")
    text, tokens_QW = prompted(), text_pairs.make_tokens()
    expected, _ = true_frames(tower, network, features)
    words, _ = true_words(text, tokens_QW)
    for enabled in (True, False):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            frames_BTE, words_QWE = network(features), text(tokens_QW)
        assert oracle.difference(frames_BTE, expected) < 0.06
        assert oracle.difference(text_pairs.up_to_the_end(words_QWE.float(), tokens_QW), words) < 0.06
        (frames_BTE.sum() + words_QWE.float().sum()).backward()


def test_texts_that_have_no_room_among_the_prompts_are_refused():
    network = prompted(prefix=10, postfix=8)  # 24 places
    network(text_pairs.make_tokens(((text_pairs.BEGIN, 1, 2, 3, 4, text_pairs.END),)))
    with pytest.raises(InputError) as error:
        network(text_pairs.make_tokens())
    assert error.value.where == "task.words"
    assert "7 tokens and 10 + 8 learned vectors are 25 positions" in error.value.found
    assert "set task.words to 6" in error.value.fix
    with pytest.raises(InputError, match=r"method\.prefix: 11 \+ 11 vectors, and this text tower has 24"):
        CLIPPromptSpec(prefix=11, postfix=11).build_pair(*text_pairs.make_towers(), frames=3)


def test_wrong_documents_give_a_readable_error():
    with pytest.raises(InputError, match=r"method\.prefix: prefix and postfix are 75 vectors") as error:
        tiny(**RETRIEVAL, method={"kind": "clip-prompt", "prefix": 40, "postfix": 35})
    assert "up to 74 together" in error.value.allowed
    largest = {"kind": "clip-prompt", "prefix": 40, "postfix": 34}
    tiny(**merged(RETRIEVAL, {"task": {"words": 3}}), method=largest)
    with pytest.raises(InputError, match=r"task\.words: \d+ tokens.* leave 3"):
        tiny(**merged(RETRIEVAL, {"task": {"words": 4}}), method=largest)
    with pytest.raises(InputError, match=r"method\.layers: 0"):
        tiny(**RETRIEVAL, method={"kind": "clip-prompt", "layers": 0})
    with pytest.raises(InputError, match=r"method\.kind: clip-prompt, and the task is recognition"):
        tiny(**merged(RETRIEVAL, {"task": {"kind": "recognition"}}), method={"kind": "clip-prompt"})


def test_the_authors_recipe():
    found = OptimizationSpec.model_validate({"recipe": "clip-prompt", "length": {"steps": 7}})
    assert (found.learning_rate, found.weight_decay, found.batch_size) == (1e-4, 0.01, 64)
    assert (found.length.steps, found.warmup.in_steps(100)) == (7, 0)
