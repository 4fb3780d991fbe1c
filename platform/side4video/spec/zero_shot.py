"""Derives an experiment that evaluates the frozen CLIP of another experiment zero-shot, on the same clips and views."""

from typing import TYPE_CHECKING, Any

from side4video.core.errors import InputError

if TYPE_CHECKING:
    from side4video.spec.experiment import Experiment

PROMPT = "a video of a person {}."
"""The prompt of Text4Vis (Wu et al., 2022, arXiv 2207.01297), which Figure 5 of the paper follows. It is one of the
prompts that CLIP's authors use for Kinetics."""
_NAME_LENGTH, _SUFFIX = 80, "-zero-shot"


def zero_shot_experiment(spec: "Experiment", *, prompt: str = PROMPT, source: str) -> "Experiment":
    """The zero-shot experiment for another experiment.

    Backbone, test clips, frames, views and evaluation precision stay the same, so both can be compared in one table
    (`spec.protocol`). The method is unchanged CLIP; the classifier is the class names in a prompt. It trains for one
    step on one clip, which changes nothing, and then evaluates, in one process. `spec` may have any method, for
    recognition. `prompt` is what the text tower reads of a class; its name stands for `{}`. `source` is what messages
    call `spec`.

    Raises:
        InputError: The task is another one, the backbone has no text tower, or the prompt no one place for a name.
    """
    from side4video.spec.load import parse_experiment

    if spec.task.kind != "recognition":
        raise InputError(
            f"{source}: task.kind", spec.task.kind, allowed="recognition", fix="run it with method: {kind: zero-shot}"
        )
    if not spec.backbone.has_text_tower:
        raise InputError(
            f"{source}: backbone",
            f"{spec.backbone.kind} without a text tower, which would have to read the names of the classes",
            allowed="kind: open-clip, or kind: vit with text: {kind: transformer}",
            fix="take a run on such a backbone",
        )
    document = spec.resolved()
    kept = spec.name[: _NAME_LENGTH - len(_SUFFIX)]
    changes: dict[str, Any] = {
        "name": f"{kept}{_SUFFIX}",
        "method": {"kind": "zero-shot"},
        "features": {"kind": "computed"},
        "optimization": {"batch_size": 1, "length": {"steps": 1}, "warmup": {"steps": 0}, "precision": "fp32"},
    }
    document |= changes
    document["task"] |= {"classifier": {"kind": "text", "prompt": prompt}, "dropout": 0.0}
    document["data"] |= {"repeated_sampling": 1}
    document["data"]["augmentation"] |= {"mix": {"kind": "none"}}
    document["data"]["loader"] |= {"epochs_per_decode": 1}
    document["evaluation"] |= {"every_epochs": 1}
    document["cluster"] |= {"workers": 1, "storage": "", "decoding": {"kind": "beside"}}
    document["tracking"] |= {"run_name": ""}
    return parse_experiment(document, source=f"{source}, zero-shot")
