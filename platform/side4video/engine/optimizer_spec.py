"""The document of the optimizer. Its defaults are the paper's Table 12."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from side4video.core.bounds import Count, Few, Positive, PositiveOrNone, Steps
from side4video.core.spec import ADDED_LATER, Spec

Fraction = Annotated[float, Field(ge=0.0, lt=1.0)]


class Length(Spec):
    """A length of training: `{epochs: 30}` or `{steps: 10000}`, one of the two."""

    epochs: PositiveOrNone = 0.0
    """Passes over the training set."""
    steps: Steps = 0
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


class Warmup(Length):
    """A length of warm-up: `{epochs: 4}`, `{steps: 500}` or `{share: 0.1}`, one of the three."""

    share: Annotated[Fraction, ADDED_LATER] = 0.0
    """Share of the whole training, 0 to below 1. It fits trainings of any length."""

    @model_validator(mode="after")
    def has_no_share_beside_a_unit(self) -> Self:
        """A share, or epochs or steps, not both."""
        if self.share and (self.epochs or self.steps):
            unit = "epochs" if self.epochs else "steps"
            raise ValueError(
                f"both share ({self.share:g}) and {unit} ({self.epochs or self.steps:g}) are given · "
                f"allowed: one of epochs, steps and share · fix: remove one, as --set 'optimization.warmup={{{unit}: "
                f"{self.epochs or self.steps:g}}}' does"
            )
        return self


class NoClipping(Spec):
    """No clipping (the authors' recognition recipe)."""

    kind: Literal["none"] = "none"


class NormClipping(Spec):
    """Gradients are scaled down to a largest global norm."""

    kind: Literal["norm"] = "norm"
    value: Positive = 1.0
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


class OptimizerSpec(Spec):
    """AdamW with linear warm-up and cosine decay (Table 12)."""

    recipe: str = "custom"
    """The named settings that filled in the other fields; `spec.optimization` has them."""
    learning_rate: Positive = 1e-3
    """The peak (Table 12: 1e-3 for ViT-B, 1e-4 for ViT-L and ViT-E)."""
    weight_decay: PositiveOrNone = 0.15
    """Decoupled decay (Table 12), on what `weight_decay_on` says."""
    weight_decay_on: Literal["all", "matrices", "all-but-biases"] = "all"
    """Every trained tensor, norms and biases too (the authors' code for recognition), tensors of two and more
    dimensions only, or all but biases (the authors' code for retrieval)."""
    betas: tuple[Fraction, Fraction] = (0.9, 0.999)
    """AdamW's two decay rates (Table 12)."""
    epsilon: Positive = 1e-8
    """AdamW's epsilon."""
    batch_size: Count = 128
    """Videos of one optimizer step, over all workers (Table 12: 128 for Something-Something, 256 for Kinetics)."""
    accumulation: Few = 1
    """Parts into which each worker cuts its share of a batch; the batch norms then see one part at a time."""
    length: Length = Length(epochs=30)
    """How long to train (Table 12: 20 to 40 epochs)."""
    warmup: Warmup = Warmup(epochs=4)
    """Linear rise from zero (Table 12: 4 or 6 epochs)."""
    final_learning_rate_fraction: Fraction = 0.0
    """Where the cosine ends, as a fraction of the peak (the authors' code: 0)."""
    learning_rate_updates: Literal["every-step", "authors"] = "every-step"
    """`authors`: set at the first step of an epoch and at each tenth after it, as their code does; the first ten
    steps then run at zero."""
    batch_norm_learning_rate: Literal["same", "over-accumulation"] = "same"
    """`over-accumulation`: the batch norms learn at the rate divided by `accumulation` (the authors' code)."""
    head_learning_rate_factor: Positive = 1.0
    """The head learns at the rate times this (the authors: 1; a head on pooled features can take much more)."""
    pretrained_learning_rate_factor: Positive = 1.0
    """What was trained before (a text tower, the image tower's last layers, CLIP's scale) learns at the rate times this
    (the authors, for retrieval: 1e-3)."""
    layer_decay: Annotated[float, Field(gt=0.0, le=1.0), ADDED_LATER] = 1.0
    """For a method that trains a tower layer by layer (`atm`): a layer learns at the rate times this for each layer
    above it, the classifier counted (ATM: 0.65 to 0.75). 1: all at the same rate."""
    clipping: Clipping = NoClipping()
    """Gradient clipping."""
    average: Average = NoAverage()
    """Whether a moving average of the weights is what gets evaluated."""
    precision: Literal["fp32", "bf16", "fp16"] = "bf16"
    """Autocast of the students: the authors train in fp16 with a loss scaler; bf16 needs none."""

    def warmup_steps(self, steps: int, steps_per_epoch: int) -> int:
        """The length of the warm-up in optimizer steps, in a training of `steps`."""
        return round(self.warmup.share * steps) if self.warmup.share else self.warmup.in_steps(steps_per_epoch)

    @model_validator(mode="after")
    def warmup_is_shorter_than_training(self) -> Self:
        """A schedule that never leaves its warm-up is a mistake."""
        for unit in ("epochs", "steps"):
            whole, rise = getattr(self.length, unit), getattr(self.warmup, unit)
            if whole and rise and rise >= whole:
                raise ValueError(
                    f"warmup of {rise:g} {unit} is not shorter than the length of {whole:g} · "
                    f"allowed: less than {whole:g} {unit if whole != 1 else unit[:-1]}, or a share of the length · "
                    "fix: add --set 'optimization.warmup={share: 0.1}' to the command, or `warmup: {share: 0.1}` to "
                    "the section in the file; a recipe may have set it"
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
