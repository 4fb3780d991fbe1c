"""A frozen tower gives the library's own tokens, block by block, and keeps none of them."""

import copy
import weakref

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from side4video.core.errors import InputError

ALL = range(4)


def library_blocks(visual):
    return list(visual.transformer.resblocks) if hasattr(visual, "transformer") else list(visual.blocks)


def library_pass(visual, normalised_NCHW):
    """What the library itself computes: every block's output, and the projected feature."""
    outputs = []
    callbacks = [
        block.register_forward_hook(lambda _module, _inputs, output: outputs.append(output))
        for block in library_blocks(visual)
    ]
    with torch.no_grad():
        feature = visual(normalised_NCHW)
    for hook in callbacks:
        hook.remove()
    return outputs, feature


def test_streamed_tokens_are_the_librarys_own(family, build, frames_NCHW):
    tower = build(family)
    expected, feature = library_pass(tower.trunk.visual, tower.normalise(frames_NCHW))
    found = tower(frames_NCHW, ALL)
    assert list(found) == [0, 1, 2, 3]
    for index, tokens in found.items():
        assert tokens.shape == (5, tower.shape.tokens, 32)
        torch.testing.assert_close(tokens, expected[index], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(tower.project(tower.pool(found[3])), feature, rtol=1e-5, atol=1e-5)


def test_the_blocks_change_the_tokens(family, build, frames_NCHW):
    found = build(family)(frames_NCHW, ALL)
    assert all((found[index] - found[index + 1]).abs().max() > 1e-3 for index in range(3))


def test_bf16_is_no_further_from_the_truth_than_the_librarys_bf16(family, build, frames_NCHW):
    tower = build(family, precision="bf16")
    exact = build(family, precision="fp32")
    truth_model = copy.deepcopy(exact.trunk.visual).double()
    truth = library_pass(truth_model, exact.normalise(frames_NCHW).double())[0][-1]
    library_model = copy.deepcopy(exact.trunk.visual).to(torch.bfloat16)
    theirs = library_pass(library_model, tower.normalise(frames_NCHW))[0][-1]
    ours = tower(frames_NCHW, [3])[3]
    assert ours.dtype == torch.bfloat16
    our_error, their_error = ((tokens.double() - truth).square().mean().sqrt() for tokens in (ours, theirs))
    assert our_error <= 1.1 * their_error
    assert our_error < 0.02 * truth.square().mean().sqrt()


def test_attention_goes_through_the_fused_kernel(family, build, frames_NCHW, monkeypatch):
    tower, calls = build(family), []
    run_attention = F.scaled_dot_product_attention

    def count(*arguments, **options):
        calls.append(1)
        return run_attention(*arguments, **options)

    monkeypatch.setattr(F, "scaled_dot_product_attention", count)
    tower(frames_NCHW, [3])
    assert len(calls) == 4


@pytest.mark.parametrize("chunk_frames", [1, 2, 3, 5, 8])
def test_chunks_give_the_same_tokens(family, build, frames_NCHW, chunk_frames):
    whole = build(family)(frames_NCHW, ALL)
    chunked = build(family, chunk_frames=chunk_frames)(frames_NCHW, ALL)
    for index in ALL:
        torch.testing.assert_close(chunked[index], whole[index], rtol=1e-5, atol=1e-5)


def test_no_block_sees_more_frames_than_a_chunk(build, frames_NCHW, monkeypatch):
    tower, seen = build(chunk_frames=2), []
    run_block, embed = tower.trunk.run_block, tower.trunk.embed
    monkeypatch.setattr(
        tower.trunk, "run_block", lambda i, tokens, read: (seen.append(len(tokens)), run_block(i, tokens, read))[1]
    )
    monkeypatch.setattr(tower.trunk, "embed", lambda frames: (seen.append(len(frames)), embed(frames))[1])
    tower(frames_NCHW, [3])
    assert seen == [2, 2, 1] * 5


def test_it_stops_after_the_deepest_tap_and_runs_no_block_early(build, frames_NCHW, monkeypatch):
    tower, ran = build(), []
    run_block = tower.trunk.run_block
    monkeypatch.setattr(
        tower.trunk, "run_block", lambda i, tokens, read: (ran.append(i), run_block(i, tokens, read))[1]
    )
    stream = iter(tower.stream(frames_NCHW, [2, 0]))
    assert next(stream)[0] == 0
    assert ran == [0]
    assert next(stream)[0] == 2
    assert next(stream, None) is None
    assert ran == [0, 1, 2]


@pytest.mark.parametrize("chunk_frames", ["all", 2])
@pytest.mark.parametrize("taps", [[3], [0, 3], [0, 1, 2, 3]])
def test_no_layer_is_held_that_nobody_holds(build, frames_NCHW, monkeypatch, taps, chunk_frames):
    """Storages, not tensor objects: a chunk's view would keep the whole alive as well."""
    tower, made = build(chunk_frames=chunk_frames), []
    advance = tower._run_block

    def remember(index, tokens, **options):
        output = advance(index, tokens, **options)
        made.append((index, weakref.ref(output.untyped_storage())))
        return output

    def alive():
        return {index for index, storage in made if storage() is not None}

    monkeypatch.setattr(tower, "_run_block", remember)
    stream = tower.stream(frames_NCHW, taps)
    for tap in taps:
        index, tokens = next(stream)
        assert index == tap
        assert len({storage()._cdata for _, storage in made if storage() is not None}) == 1
        assert tap in alive()
        del tokens
    assert alive() == set()  # the stream itself is still there, and not exhausted
    assert next(stream, None) is None


@pytest.mark.parametrize("chunk_frames", ["all", 2])
def test_a_given_tensor_is_never_changed(family, build, frames_NCHW, chunk_frames):
    tower, kept = build(family, chunk_frames=chunk_frames), []
    for index, tokens in tower.stream(frames_NCHW, [0, 1, 3]):
        kept.append((tokens, tokens.clone(), tokens._version, index))
    for tokens, copy_then, version, _ in kept:
        assert torch.equal(tokens, copy_then)
        assert tokens._version == version


def test_the_frames_are_never_changed(family, build, frames_NCHW):
    tower = build(family)
    normalised = tower.normalise(frames_NCHW)
    before = normalised.clone()
    tower(normalised, [3])
    assert torch.equal(normalised, before)


def test_no_graph_reaches_the_tower_but_students_can_learn_from_its_tokens(build, frames_NCHW):
    tower, student = build(), nn.Linear(32, 3)
    assert not any(parameter.requires_grad for parameter in tower.parameters())
    with torch.enable_grad():
        for _, tokens in tower.stream(frames_NCHW, ALL):
            assert torch.is_grad_enabled()  # the tower's no_grad is its own affair
            assert not tokens.requires_grad
            assert not tokens.is_inference()
            student(tokens).square().mean().backward()
    assert student.weight.grad.abs().max() > 0
    assert all(parameter.grad is None for parameter in tower.parameters())


def test_it_starts_no_graph_even_where_somebody_thawed_it(family, build, frames_NCHW):
    tower = build(family).requires_grad_(True)
    tokens = tower(frames_NCHW, [0, 3])
    feature = tower.pool(tokens[3])
    assert not any(tensor.requires_grad for tensor in (*tokens.values(), feature, tower.project(feature)))
    assert not tower._embed(frames_NCHW).requires_grad


def test_float_frames_that_need_a_gradient_start_no_graph(build, frames_NCHW):
    tower = build()
    frames = tower.normalise(frames_NCHW).requires_grad_()
    assert not tower(frames, [0])[0].requires_grad
    assert not tower.normalise(frames).requires_grad


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_autocast_around_it_changes_nothing(family, build, frames_NCHW, precision):
    tower = build(family, precision=precision)
    plain = tower(frames_NCHW, ALL)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = tower(frames_NCHW, ALL)
        feature = tower.project(tower.pool(inside[3]))
    assert all(torch.equal(inside[index], plain[index]) for index in ALL)
    assert feature.dtype == tower.dtype
    assert torch.equal(feature, tower.project(tower.pool(plain[3])))


def test_it_is_always_in_evaluation(family, build):
    tower = build(family)
    nn.Sequential(tower).train()
    assert not any(module.training for module in tower.modules())


def test_uint8_frames_are_normalised_as_the_tower_was_trained(build, frames_NCHW):
    tower = build()
    video_BTCHW = frames_NCHW[:4].view(2, 2, 3, 32, 32)
    mean, std = torch.tensor(tower.shape.mean).view(3, 1, 1), torch.tensor(tower.shape.std).view(3, 1, 1)
    expected = (video_BTCHW / 255 - mean) / std
    assert torch.equal(tower.normalise(video_BTCHW), expected)
    assert torch.equal(tower.normalise(video_BTCHW / 255), expected)
    assert torch.equal(tower(frames_NCHW, [1])[1], tower(tower.normalise(frames_NCHW), [1])[1])


def test_bf16_normalises_in_fp32_first(build, frames_NCHW):
    exact, rounded = (build(precision=precision).normalise(frames_NCHW) for precision in ("fp32", "bf16"))
    assert torch.equal(rounded, exact.bfloat16())
    assert torch.equal(build(precision="bf16").normalise(frames_NCHW / 255), exact.bfloat16())


@pytest.mark.parametrize("shape", [(5, 3, 24, 32), (5, 3, 40, 40), (5, 1, 32, 32), (3, 32, 32), (1, 5, 3, 32, 32)])
def test_frames_of_another_size_are_refused_at_once(build, shape):
    with pytest.raises(InputError, match=r"allowed: \[frames, 3, 32, 32\]"):
        build().stream(torch.zeros(shape, dtype=torch.uint8), [0])


@pytest.mark.parametrize("taps", [[4], [-2], [0, 9]])
def test_taps_the_tower_does_not_have_are_refused_at_once(build, frames_NCHW, taps):
    with pytest.raises(ValueError, match=r"0\.\.3"):
        build().stream(frames_NCHW, taps)


def test_no_taps_and_no_frames_are_no_work(build, frames_NCHW):
    assert build()(frames_NCHW, []) == {}
    assert build(chunk_frames=2)(frames_NCHW[:0], [1])[1].shape == (0, 17, 32)


def test_on_meta_everything_has_its_shape_and_nothing_its_value(family, build):
    tower = build(family, precision="bf16", weights={"kind": "file", "path": "/nowhere/at-all"}, device="meta")
    tokens = tower(torch.empty(6, 3, 32, 32, dtype=torch.uint8, device="meta"), [3])[3]
    assert tokens.is_meta
    assert tokens.dtype == torch.bfloat16
    assert tokens.shape == (6, tower.shape.tokens, 32)
    assert tower.project(tower.pool(tokens)).shape == (6, 24)
    with pytest.raises(ValueError, match="meta"):
        tower.fingerprint()
