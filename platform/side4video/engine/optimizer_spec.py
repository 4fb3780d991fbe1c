"""How students are optimised: the document. Its numbers are the paper's Table 12."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from side4video.core.spec import Spec

Fraction = Annotated[float, Field(ge=0.0, lt=1.0)]


class Length(Spec):
    """A length of training: `{epochs: 30}` or `{steps: 10000}`, one of the two."""

    epochs: NonNegativeFloat = 0.0
    """Passes over the training set."""
    steps: NonNegativeInt = 0
    """Optimizer steps."""

    @model_validator(mode="after")
    def has_one_unit(self) -> Self:
        """Epochs or steps, not both."""
        if self.epochs and self.steps:
            raise ValueError(
                f"both epochs ({self.epochs:g}) and steps ({self.steps}) are given · allowed: one of them · "
                "fix: remove one"
            )
        return self

    def in_steps(self, steps_per_epoch: int) -> int:
        """The length in optimizer steps."""
        return self.steps or round(self.epochs * steps_per_epoch)


class NoClipping(Spec):
    """Gradients are used as they are (the authors' recognition recipe)."""

    kind: Literal["none"] = "none"


class NormClipping(Spec):
    """Gradients are scaled down to a largest global norm."""

    kind: Literal["norm"] = "norm"
    value: PositiveFloat = 1.0
    """The largest norm."""


Clipping = Annotated[NoClipping | NormClipping, Field(discriminator="kind")]


class NoAverage(Spec):
    """The last weights are evaluated."""

    kind: Literal["none"] = "none"


class MovingAverage(Spec):
    """An exponential moving average of the weights is evaluated."""

    kind: Literal["moving-average"] = "moving-average"
    decay: Fraction = 0.999
    """Weight of the past at each step."""


Average = Annotated[NoAverage | MovingAverage, Field(discriminator="kind")]


def _recipe(learning_rate: float, batch_size: int, epochs: int, warmup_epochs: float) -> dict[str, object]:
    return {
        "learning_rate": learning_rate,
        "batch_size": batch_size,
        "length": {"epochs": epochs},
        "warmup": {"epochs": warmup_epochs},
    }


def _st_adapter(learning_rate: float, batch_size: int, epochs: int) -> dict[str, object]:
    decay = {"weight_decay": 1e-2, "weight_decay_on": "matrices"}
    return _recipe(learning_rate, batch_size, epochs, 2) | decay


def _aim(learning_rate: float, epochs: int, head: float) -> dict[str, object]:
    decay = {"weight_decay": 0.05, "weight_decay_on": "matrices"}
    return _recipe(learning_rate, 64, epochs, 2.5) | decay | {"head_learning_rate_factor": head}


def _evl(steps: int) -> dict[str, object]:
    return {
        "learning_rate": 4e-4,
        "weight_decay": 0.05,
        "batch_size": 256,
        "length": {"steps": steps},
        "warmup": {"steps": 0},
    }


_RETRIEVAL: dict[str, object] = {
    "learning_rate": 1e-4,
    "pretrained_learning_rate_factor": 1e-3,
    "betas": (0.9, 0.98),
    "epsilon": 1e-6,
    "weight_decay": 0.2,
    "weight_decay_on": "all-but-biases",
    "batch_size": 128,
    "length": {"epochs": 5},
    "warmup": {"epochs": 0.5},
    "clipping": {"kind": "norm", "value": 1.0},
}
"""The paper's section 4.1 and the authors' code for retrieval: 1e-7 for CLIP's own parameters. Their optimizer has no
bias correction (BertAdam), and an epoch of theirs is a pass over captions, here over videos."""

_CROSS_MODAL_ADAPTER = _RETRIEVAL | {"learning_rate": 1e-5, "pretrained_learning_rate_factor": 1.0}

_UNIADAPTER: dict[str, object] = {
    "learning_rate": 1e-5,
    "weight_decay": 0.05,
    "length": {"epochs": 6},
    "warmup": {"steps": 0},
}

_CLIP_PROMPT: dict[str, object] = {
    "learning_rate": 1e-4,
    "weight_decay": 0.01,
    "batch_size": 64,
    "warmup": {"steps": 0},
}

_STAN = _recipe(2e-5, 128, 10, 1) | {
    "pretrained_learning_rate_factor": 0.1,
    "betas": (0.9, 0.98),
    "weight_decay": 0.05,
    "weight_decay_on": "matrices",
    "clipping": {"kind": "norm", "value": 5.0},
}


class OptimizationSpec(Spec):
    """AdamW with linear warm-up and cosine decay (Table 12).

    Recipes of other methods are those of their authors' repositories. ST-Adapter's: 1e-3 per 256 clips, no decay of
    biases. AIM's: 64 clips; for ViT-L the head learns ten times as fast as the rest; they decay biases but neither
    norms nor the head, for which there is no field; their random erasing (Something-Something) and colour jitter
    (ViT-L on Kinetics) are not in this platform. LST's has the peak and the warm-up of its text tasks alone.
    EVL's: no warm-up, decay of everything; its repository has Kinetics-400, and the steps on Something-Something V2 are
    its maintainer's word. DiST's: their warm-up starts at 8e-8, here at zero; they decay no learned token, here those
    of more than one dimension (positions) shrink with the matrices, by less than a thousandth in the whole training;
    their mixup and CutMix are `data.augmentation.mix`, their colour jitter is not in this platform.
    Cross-Modal Adapter's: as for retrieval, at 1e-5. UniAdapter's: a cosine without warm-up, decay of everything; its
    batch for videos is not known, and stays 128. CLIP-Prompt's: neither its length nor a schedule for retrieval is
    known, `length` stays what it is. STAN's: 2e-6 for CLIP's own parameters; their schedule would rise for all of its
    10 epochs, here the rise takes one of them.
    All train in fp16 with a loss scaler; `precision` stays what it is.
    """

    PRESETS: ClassVar = {
        "recipe": {
            "st-adapter-ssv2": _st_adapter(1e-3, 256, 50),
            "st-adapter-k400": _st_adapter(7.5e-4, 192, 12),
            "aim-ssv2": _aim(3e-4, 50, 1.0),
            "aim-ssv2-vitl14": _aim(3e-5, 50, 10.0),
            "aim-k400": _aim(3e-4, 30, 1.0),
            "aim-k400-vitl14": _aim(3e-5, 30, 10.0),
            "lst": {"learning_rate": 3e-3, "warmup": {"steps": 500}},
            "evl-k400": _evl(50_000),
            "evl-ssv2": _evl(30_000),
            "dist-ssv2": _recipe(3.2e-4, 256, 36, 6) | {"weight_decay": 1e-4, "weight_decay_on": "matrices"},
            "retrieval": _RETRIEVAL,
            "cross-modal-adapter": _CROSS_MODAL_ADAPTER,
            "uniadapter": _UNIADAPTER,
            "clip-prompt": _CLIP_PROMPT,
            "stan": _STAN,
            "k400-vitb16": _recipe(1e-3, 256, 30, 4),
            "k400-vitl14": _recipe(1e-4, 256, 30, 4),
            "k400-vite14": _recipe(1e-4, 128, 20, 4),
            "ssv1-vitb16": _recipe(1e-3, 128, 40, 4),
            "ssv1-vitl14": _recipe(1e-4, 128, 30, 4),
            "ssv1-vite14": _recipe(1e-4, 64, 30, 6),
            "ssv2-vitb16": _recipe(1e-3, 128, 30, 4),
            "ssv2-vitl14": _recipe(1e-4, 128, 30, 4),
            "ssv2-vite14": _recipe(1e-4, 64, 25, 6),
        }
    }

    recipe: Literal[
        "custom",
        "retrieval",
        "k400-vitb16",
        "k400-vitl14",
        "k400-vite14",
        "ssv1-vitb16",
        "ssv1-vitl14",
        "ssv1-vite14",
        "ssv2-vitb16",
        "ssv2-vitl14",
        "ssv2-vite14",
        "st-adapter-ssv2",
        "st-adapter-k400",
        "aim-ssv2",
        "aim-ssv2-vitl14",
        "aim-k400",
        "aim-k400-vitl14",
        "lst",
        "evl-k400",
        "evl-ssv2",
        "dist-ssv2",
        "cross-modal-adapter",
        "uniadapter",
        "clip-prompt",
        "stan",
    ] = "custom"
    """A column of Table 12, or another method's own: sets learning rate, batch size, length and warm-up, and what else
    its authors chose; what is given beside it wins."""
    learning_rate: PositiveFloat = 1e-3
    """The peak (Table 12: 1e-3 for ViT-B, 1e-4 for ViT-L and ViT-E)."""
    weight_decay: NonNegativeFloat = 0.15
    """Decoupled decay (Table 12), on what `weight_decay_on` says."""
    weight_decay_on: Literal["all", "matrices", "all-but-biases"] = "all"
    """Every trained tensor, norms and biases too (the authors' code for recognition), tensors of two and more
    dimensions only, or all but biases (the authors' code for retrieval)."""
    betas: tuple[Fraction, Fraction] = (0.9, 0.999)
    """AdamW's two decay rates (Table 12)."""
    epsilon: PositiveFloat = 1e-8
    """AdamW's epsilon."""
    batch_size: PositiveInt = 128
    """Videos of one optimizer step, over all workers (Table 12: 128 for Something-Something, 256 for Kinetics)."""
    accumulation: PositiveInt = 1
    """Parts into which each worker cuts its share of a batch; the batch norms then see one part at a time."""
    length: Length = Length(epochs=30)
    """How long to train (Table 12: 20 to 40 epochs)."""
    warmup: Length = Length(epochs=4)
    """Linear rise from zero (Table 12: 4 or 6 epochs)."""
    final_learning_rate_fraction: Fraction = 0.0
    """Where the cosine ends, as a fraction of the peak (the authors' code: 0)."""
    learning_rate_updates: Literal["every-step", "authors"] = "every-step"
    """`authors`: set at the first step of an epoch and at each tenth after it, as their code does; the first ten
    steps then run at zero."""
    batch_norm_learning_rate: Literal["same", "over-accumulation"] = "same"
    """`over-accumulation`: the batch norms learn at the rate divided by `accumulation` (the authors' code)."""
    head_learning_rate_factor: PositiveFloat = 1.0
    """The head learns at the rate times this (the authors: 1; a head on pooled features can take much more)."""
    pretrained_learning_rate_factor: PositiveFloat = 1.0
    """What was trained before (a text tower, the image tower's last layers, CLIP's scale) learns at the rate times this
    (the authors, for retrieval: 1e-3)."""
    clipping: Clipping = NoClipping()
    """Gradient clipping."""
    average: Average = NoAverage()
    """Whether a moving average of the weights is what gets evaluated."""
    precision: Literal["fp32", "bf16", "fp16"] = "bf16"
    """Autocast of the students: the authors train in fp16 with a loss scaler; bf16 needs none."""

    @model_validator(mode="after")
    def warmup_is_shorter_than_training(self) -> Self:
        """A schedule that never leaves its warm-up is a mistake."""
        for unit in ("epochs", "steps"):
            whole, rise = getattr(self.length, unit), getattr(self.warmup, unit)
            if whole and rise and rise >= whole:
                raise ValueError(
                    f"warmup of {rise:g} {unit} is not shorter than the length of {whole:g} · "
                    f"allowed: less than {whole:g} {unit} · fix: set warmup to {{{unit}: {whole / 10:g}}}"
                )
        return self

    @model_validator(mode="after")
    def training_has_a_length(self) -> Self:
        """Zero epochs and zero steps is no training."""
        if not (self.length.epochs or self.length.steps):
            raise ValueError(
                "length is zero · allowed: {epochs: N} or {steps: N} above zero · fix: length: {epochs: 30}"
            )
        return self
