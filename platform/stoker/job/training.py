"""How a network is trained: length, batches, optimizer, schedule, precision, and which weights are kept."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag

from stoker.job.section import Interval, Section, Shorthand, Span, Time

LearningRate = Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)]
Decay = Annotated[float, Field(ge=0, le=10, allow_inf_nan=False)]
Momentum = Annotated[float, Field(ge=0, lt=1)]


class Sgd(Section):
    """Stochastic gradient descent with momentum (torch.optim.SGD)."""

    type: Literal["sgd"]
    """The rule that changes the weights."""
    lr: LearningRate = 0.05
    """Learning rate at the top of the schedule."""
    momentum: Momentum = 0.9
    """How much of the last step is kept."""
    nesterov: bool = False
    """Look ahead along the momentum; needs a momentum above 0."""
    weight_decay: Decay = 0.0
    """L2 penalty on the weights."""


class Adam(Section):
    """Adam (torch.optim.Adam)."""

    type: Literal["adam"]
    """The rule that changes the weights."""
    lr: LearningRate = 1e-3
    """Learning rate at the top of the schedule."""
    betas: Annotated[tuple[Momentum, Momentum], Field(strict=False)] = (0.9, 0.999)
    """Decay of the running mean and of the running square of the gradient."""
    weight_decay: Decay = 0.0
    """L2 penalty on the weights."""


class AdamW(Section):
    """Adam with decoupled weight decay (torch.optim.AdamW)."""

    type: Literal["adamw"]
    """The rule that changes the weights."""
    lr: LearningRate = 2e-3
    """Learning rate at the top of the schedule."""
    betas: Annotated[tuple[Momentum, Momentum], Field(strict=False)] = (0.9, 0.999)
    """Decay of the running mean and of the running square of the gradient."""
    weight_decay: Decay = 0.01
    """Share of the weights taken off each step, times the learning rate."""


class Muon(Section):
    """Muon (torch.optim.Muon) on the hidden weight matrices; AdamW, at a tenth of the rate, on all other parameters."""

    type: Literal["muon"]
    """The rule that changes the weights."""
    lr: LearningRate = 0.02
    """Learning rate of the matrices at the top of the schedule."""
    momentum: Momentum = 0.95
    """How much of the last step is kept."""
    weight_decay: Decay = 0.01
    """Share of the weights taken off each step, times the learning rate."""


Optimizer = Annotated[Sgd | Adam | AdamW | Muon, Field(discriminator="type")]
OptimizerChoice = Annotated[Optimizer, Shorthand("type")]
OptimizerGroups = dict[str, OptimizerChoice]
OptimizerOrGroups = Optimizer | dict[str, Optimizer]


def _one_or_groups(value: object) -> str:
    """Take an object for groups where it has no type but some value that may be an optimizer."""
    if not isinstance(value, dict) or "type" in value:
        return "one"
    return "groups" if any(isinstance(each, dict | str | Section) for each in value.values()) else "one"


OptimizersChoice = Annotated[
    Annotated[OptimizerChoice, Tag("one")] | Annotated[OptimizerGroups, Tag("groups")], Discriminator(_one_or_groups)
]
"""One optimizer for all parameters, or one for each named group of them."""


class Constant(Section):
    """The learning rate stays (after the warm-up)."""

    type: Literal["constant"]
    """How the learning rate changes."""
    warmup: Span = "0%"
    """Stretch over which the rate rises from near zero: `5%`, `500 steps`, `2 epochs`."""


class Cosine(Section):
    """The rate falls along half a cosine (Loshchilov and Hutter 2017)."""

    type: Literal["cosine"]
    """How the learning rate changes."""
    warmup: Span = "5%"
    """Stretch over which the rate rises from near zero: `5%`, `500 steps`, `2 epochs`."""
    floor: float = Field(0.0, ge=0, le=1)
    """Share of the rate that is left at the end."""


class Linear(Section):
    """The rate falls along a line."""

    type: Literal["linear"]
    """How the learning rate changes."""
    warmup: Span = "5%"
    """Stretch over which the rate rises from near zero: `5%`, `500 steps`, `2 epochs`."""
    floor: float = Field(0.0, ge=0, le=1)
    """Share of the rate that is left at the end."""


class OneCycle(Section):
    """The rate rises to its top and falls far below its start (Smith and Topin 2019)."""

    type: Literal["one-cycle"]
    """How the learning rate changes."""
    warmup: Span = "30%"
    """Stretch of the rise."""


class Step(Section):
    """The rate is cut by a factor at regular distances."""

    type: Literal["step"]
    """How the learning rate changes."""
    warmup: Span = "0%"
    """Stretch over which the rate rises from near zero: `5%`, `500 steps`, `2 epochs`."""
    every: Span = "10 epochs"
    """Distance between two cuts."""
    factor: float = Field(0.1, gt=0, lt=1)
    """What the rate is multiplied with."""


class Plateau(Section):
    """The rate is cut when `training.checkpoint.best` has not improved for a while."""

    type: Literal["plateau"]
    """How the learning rate changes."""
    warmup: Span = "0%"
    """Stretch over which the rate rises from near zero: `5%`, `500 steps`, `2 epochs`."""
    patience: int = Field(5, ge=0)
    """Epochs without improvement before a cut."""
    factor: float = Field(0.1, gt=0, lt=1)
    """What the rate is multiplied with."""


Schedule = Annotated[Constant | Cosine | Linear | OneCycle | Step | Plateau, Field(discriminator="type")]
ScheduleChoice = Annotated[Schedule, Shorthand("type")]


class EarlyStopping(Section):
    """End training when nothing improves any more."""

    metric: str | None = None
    """The metric to watch, such as loss/val; default: the one of `training.checkpoint.best`."""

    patience: int = Field(10, ge=1)
    """Epochs without improvement before training ends."""


class Checkpoint(Section):
    """What of the training is saved on the way, and which weights become the model."""

    every: Interval = "1 epoch"
    """Distance between two checkpoints, from which a run goes on after a failure or a pause: `1 epoch`, `500 steps`,
    `5%`, `10 min`."""

    keep: int = Field(2, ge=1, le=1000)
    """How many of the newest checkpoints are kept; the best weights are part of each."""

    best: str | None = None
    """The metric whose best epoch becomes the model, such as accuracy/val; equal values are decided by the lower loss.
    Default: the task's."""


def _check_start(start: str) -> str:
    if not start.removeprefix("run:"):
        raise ValueError("names no run (example: run:digits-cnn-7f3a9c21)")
    return start


class Training(Section):
    """How the network is trained. The first of epochs, steps and time that is reached ends training."""

    epochs: int | None = Field(None, ge=1, le=1_000_000)
    """Passes over the training samples; default: from the number of samples, unless steps or time is set."""

    steps: int | None = Field(None, ge=1, le=1_000_000_000)
    """Optimizer steps."""

    time: Time | None = None
    """Training time, such as `10 min`; it ends training well, with the schedule cut short."""

    batch_size: int | None = Field(None, ge=1, le=10_000_000)
    """Samples of one optimizer step, over all workers; default: a power of two from the number of samples."""

    micro_batch: int | None = Field(None, ge=1, le=10_000_000)
    """Samples that one worker computes at once; smaller ones are accumulated to the same step.
    Default: the whole share."""

    optimizer: OptimizersChoice = Field("adamw", validate_default=True)
    """The rule that changes the weights: sgd, adam, adamw or muon; or one for each group of parameters that the network
    has, such as `{generator: {type: adam, lr: 2e-4}, discriminator: {type: adam, lr: 4e-4}}` for a gan."""

    schedule: ScheduleChoice = Field("cosine", validate_default=True)
    """How the learning rate changes: constant, cosine, linear, one-cycle, step or plateau."""

    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Arithmetic of the network; `auto` times both on the machine before the first step and keeps the choice."""

    gradient_clip: float | None = Field(None, gt=0, allow_inf_nan=False)
    """Largest norm of the gradient; longer ones are shortened to it."""

    early_stopping: EarlyStopping | None = None
    """End training when a metric no longer improves."""

    checkpoint: Checkpoint = Field({}, validate_default=True)
    """What is saved on the way, and which weights become the model."""

    seed: int = Field(0, ge=0, lt=2**63)
    """Seed of weights, order, augmentation and dropout."""

    start_from: Annotated[str, AfterValidator(_check_start)] | None = Field(None, min_length=1)
    """Begin with trained weights: `run:ID`, those of an earlier run's model, or the folder of a saved model.
    Default: with new ones from the seed."""
