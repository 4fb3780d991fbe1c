"""Names that other tools of the field use, and where a document has the same thing.

An unknown key is looked up here before the nearest spelling is guessed: `early_stopping` is not a misspelt `clipping`.
"""

import difflib
from collections.abc import Sequence

FIELD_OF_NAME = {
    **dict.fromkeys(("lr", "learningrate", "base_lr", "init_lr"), "optimization.learning_rate"),
    **dict.fromkeys(("epochs", "num_epochs", "max_epochs", "n_epochs", "total_epochs"), "optimization.length.epochs"),
    **dict.fromkeys(("steps", "max_steps", "num_steps", "total_steps", "iterations"), "optimization.length.steps"),
    **dict.fromkeys(("batch", "batchsize", "bs", "train_batch_size", "global_batch_size"), "optimization.batch_size"),
    **dict.fromkeys(("wd", "weightdecay"), "optimization.weight_decay"),
    **dict.fromkeys(("warmup", "warmup_epochs", "warm_up"), "optimization.warmup"),
    **dict.fromkeys(
        (
            "grad_accum",
            "gradient_accumulation",
            "accumulate_grad_batches",
            "accum_freq",
            "grad_accumulation_steps",
            "gradient_accumulation_steps",
        ),
        "optimization.accumulation",
    ),
    **dict.fromkeys(("fp16", "bf16", "amp", "mixed_precision", "dtype"), "optimization.precision"),
    **dict.fromkeys(
        ("num_frames", "nframes", "n_frames", "num_segments", "t_size", "clip_len", "clip_length"), "data.frames"
    ),
    **dict.fromkeys(("img_size", "image_size", "input_size", "crop_size", "resolution", "img_res"), "data.size"),
    **dict.fromkeys(("sampler", "sampling_rate", "frame_sampling", "sample_rate", "frame_interval"), "data.sampling"),
    **dict.fromkeys(("num_workers", "n_workers", "workers_per_gpu", "dataloader_workers"), "data.loader.workers"),
    **dict.fromkeys(("root", "data_root", "data_path", "data_dir", "video_dir", "video_root"), "data.dataset.root"),
    **dict.fromkeys(("annotation", "ann_file", "train_list", "csv", "data_file"), "data.dataset.annotations"),
    **dict.fromkeys(("num_clips", "test_num_segment", "num_ensemble_views", "test_clips"), "data.views.clips"),
    **dict.fromkeys(("num_crops", "test_num_crop", "num_spatial_crops", "test_crops"), "data.views.crops"),
    **dict.fromkeys(("augment", "aug", "transforms", "aa", "auto_augment"), "data.augmentation"),
    **dict.fromkeys(("smoothing", "label_smooth"), "task.label_smoothing"),
    **dict.fromkeys(("arch", "model", "model_name", "encoder", "clip", "pretrained_model", "visual"), "backbone.model"),
    **dict.fromkeys(("pretrained", "checkpoint", "ckpt", "init_from", "pretrain"), "backbone.weights"),
    **dict.fromkeys(("depth", "num_layers", "n_layers", "side_layers"), "method.layers"),
    **dict.fromkeys(("hidden_dim", "hidden_size", "embed_dim", "width", "side_dim"), "method.dim"),
    **dict.fromkeys(("gpus", "num_gpus", "n_gpus", "devices", "gpu"), "cluster.gpus_per_worker"),
    **dict.fromkeys(("world_size", "nproc_per_node", "num_nodes"), "cluster.workers"),
    **dict.fromkeys(("output_dir", "save_dir", "checkpoint_dir", "work_dir", "log_dir", "out_dir"), "cluster.storage"),
    **dict.fromkeys(("project", "experiment_name", "wandb_project"), "tracking.experiment"),
    **dict.fromkeys(("mlflow_uri", "tracking_uri"), "tracking.uri"),
    **dict.fromkeys(("eval_freq", "eval_interval", "val_interval", "eval_every"), "evaluation.every_epochs"),
    **dict.fromkeys(
        ("early_stopping", "early_stop", "patience", "early_stopping_patience"), "evaluation.early_stopping"
    ),
    **dict.fromkeys(("save_best", "keep_best", "save_best_only"), "evaluation.choose_epoch"),
    **dict.fromkeys(("val_list", "val_file", "val_csv"), "data.dataset.split_by.val_annotations"),
    **dict.fromkeys(("random_seed", "manual_seed"), "seed"),
    **dict.fromkeys(("ema", "model_ema", "ema_decay"), "optimization.average"),
    **dict.fromkeys(("drop_path", "drop_path_rate", "stochastic_depth"), "method"),
}
"""A field by a name that people know it under."""
ABSENT = {
    **dict.fromkeys(
        ("val", "validation", "val_split"),
        "the data set names its validation clips: `val` in the split column, a folder `val`, or "
        "`data.dataset.split_by: {kind: random, val_fraction: 0.1}`",
    ),
    **dict.fromkeys(("optimizer", "optim", "opt"), "the optimizer is AdamW; its fields are in `optimization`"),
    **dict.fromkeys(
        ("scheduler", "lr_scheduler", "lr_schedule", "sched"),
        "the learning rate falls along a cosine after `optimization.warmup`",
    ),
}
"""What a document does not have, and what there is instead."""
_SECTIONS = frozenset({"features", *(field.partition(".")[0] for field in FIELD_OF_NAME.values())})
"""Sections and fields of an experiment that a sweep has not."""
_OF_SWEEP = frozenset({"base", "overrides"})
"""Fields that tell a sweep from an experiment."""
_NEAR = 0.75
"""A spelling is guessed from this similarity on; below it, guesses name something else."""


def advice(name: str, fields: Sequence[str], section: str, *, below: str = "") -> str:
    """What to write instead of an unknown key of a section: a field of another name, or a near spelling; or nothing.

    `below` is the path of a value below the key: `.classes` of `data: {classes: base}`.
    """
    plain = name.lower().replace("-", "_")
    known = FIELD_OF_NAME.get(plain, "")
    if not section and set(fields) >= _OF_SWEEP:  # fields of its base are named below `overrides`
        if plain in _SECTIONS:
            return f"write `overrides.{plain}{below}`"
        if known:
            return f"write `overrides.{known}`"
    # Deep in a section, a name means something of that section: `epochs` of early stopping is not the length.
    is_far = "." in section and not known.startswith(f"{section.partition('.')[0]}.")
    if known and not is_far and known != f"{section}.{name}".strip("."):
        return f"write `{known}`"
    if plain in ABSENT:
        return f"remove it: {ABSENT[plain]}"
    near = difflib.get_close_matches(name, fields, n=1, cutoff=_NEAR)
    if near:
        return f"did you mean {near[0]}?"
    return "remove it"


def near_kind(name: str, kinds: Sequence[str]) -> str:
    """A near spelling of a kind or a choice, as a question; empty if none is near."""
    near = difflib.get_close_matches(name, kinds, n=1, cutoff=0.6)
    return f"did you mean {near[0]}?" if near else ""
