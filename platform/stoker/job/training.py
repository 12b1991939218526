"""Settings of `training`: duration, batch size, optimizer, schedule, precision and checkpoints."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag

from stoker.job.section import WORD_OR_OBJECT, Epochs, Interval, Section, Shorthand, Span, Time

LearningRate = Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)]
Decay = Annotated[float, Field(ge=0, le=10, allow_inf_nan=False)]
Momentum = Annotated[float, Field(ge=0, lt=1)]


class Sgd(Section):
    """Stochastic gradient descent with momentum (torch.optim.SGD)."""

    type: Literal["sgd"]
    """The optimizer."""
    lr: LearningRate = 0.05
    """Peak learning rate: the schedule scales it during training."""
    momentum: Momentum = 0.9
    """Fraction of the previous update that is added to the next one."""
    nesterov: bool = False
    """Use Nesterov momentum; needs a momentum above 0."""
    weight_decay: Decay = 0.0
    """Factor of the L2 penalty on the weights, such as `1e-4`."""


class Adam(Section):
    """Adam (torch.optim.Adam)."""

    type: Literal["adam"]
    """The optimizer."""
    lr: LearningRate = 1e-3
    """Peak learning rate: the schedule scales it during training."""
    betas: Annotated[tuple[Momentum, Momentum], Field(strict=False)] = (0.9, 0.999)
    """Decay rates of the running averages of the gradient and of its square."""
    weight_decay: Decay = 0.0
    """Factor of the L2 penalty on the weights, such as `1e-4`."""


class AdamW(Section):
    """Adam with decoupled weight decay (torch.optim.AdamW)."""

    type: Literal["adamw"]
    """The optimizer."""
    lr: LearningRate = 2e-3
    """Peak learning rate: the schedule scales it during training."""
    betas: Annotated[tuple[Momentum, Momentum], Field(strict=False)] = (0.9, 0.999)
    """Decay rates of the running averages of the gradient and of its square."""
    weight_decay: Decay = 0.01
    """Each step shrinks the weights by this fraction of themselves, times the learning rate."""


class Muon(Section):
    """Muon (torch.optim.Muon) on the hidden weight matrices; AdamW, at a tenth of the rate, on all other parameters."""

    type: Literal["muon"]
    """The optimizer."""
    lr: LearningRate = 0.02
    """Peak learning rate of the weight matrices; all other parameters use a tenth of it."""
    momentum: Momentum = 0.95
    """Fraction of the previous update that is added to the next one."""
    weight_decay: Decay = 0.01
    """Each step shrinks the weights by this fraction of themselves, times the learning rate."""


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
    """The learning rate stays constant after the warm-up."""

    type: Literal["constant"]
    """The schedule."""
    warmup: Span = "0%"
    """Warm-up: the learning rate rises linearly from near 0 over this duration, such as `5%`, `500 steps` or
    `2 epochs`."""


class Cosine(Section):
    """The learning rate falls along half a cosine (Loshchilov and Hutter 2017)."""

    type: Literal["cosine"]
    """The schedule."""
    warmup: Span = "5%"
    """Warm-up: the learning rate rises linearly from near 0 over this duration, such as `5%`, `500 steps` or
    `2 epochs`."""
    floor: float = Field(0.0, ge=0, le=1)
    """Fraction of the peak learning rate that is left at the end."""


class Linear(Section):
    """The learning rate falls linearly."""

    type: Literal["linear"]
    """The schedule."""
    warmup: Span = "5%"
    """Warm-up: the learning rate rises linearly from near 0 over this duration, such as `5%`, `500 steps` or
    `2 epochs`."""
    floor: float = Field(0.0, ge=0, le=1)
    """Fraction of the peak learning rate that is left at the end."""


class OneCycle(Section):
    """The learning rate rises to its peak and then falls far below its start (Smith and Topin 2019)."""

    type: Literal["one-cycle"]
    """The schedule."""
    warmup: Span = "30%"
    """Duration of the rise, such as `30%`, `500 steps` or `2 epochs`."""


class Step(Section):
    """The learning rate is multiplied by a factor at regular intervals."""

    type: Literal["step"]
    """The schedule."""
    warmup: Span = "0%"
    """Warm-up: the learning rate rises linearly from near 0 over this duration, such as `5%`, `500 steps` or
    `2 epochs`."""
    every: Span = "10 epochs"
    """Interval between two reductions, such as `10 epochs`, `500 steps` or `20%`."""
    factor: float = Field(0.1, gt=0, lt=1)
    """Factor of each reduction: 0.1 leaves a tenth of the learning rate."""


class Plateau(Section):
    """The learning rate is reduced when the metric of `training.checkpoint.best` stops improving."""

    type: Literal["plateau"]
    """The schedule."""
    warmup: Span = "0%"
    """Warm-up: the learning rate rises linearly from near 0 over this duration, such as `5%`, `500 steps` or
    `2 epochs`."""
    patience: int = Field(5, ge=0)
    """Epochs without improvement before a reduction."""
    factor: float = Field(0.1, gt=0, lt=1)
    """Factor of each reduction: 0.1 leaves a tenth of the learning rate."""


Schedule = Annotated[Constant | Cosine | Linear | OneCycle | Step | Plateau, Field(discriminator="type")]
ScheduleChoice = Annotated[Schedule, Shorthand("type")]


ClassWeight = Annotated[float, Field(gt=0, allow_inf_nan=False)]
ClassWeights = Annotated[
    Annotated[Literal["balanced"], Tag("word")] | Annotated[dict[str, ClassWeight], Field(min_length=1), Tag("object")],
    WORD_OR_OBJECT,
]


class EarlyStopping(Section):
    """End training when a metric stops improving."""

    metric: str | None = None
    """Metric to watch, such as loss/val; default: the metric of `training.checkpoint.best`."""

    patience: int = Field(10, ge=1)
    """Epochs without improvement before training ends."""


TRAINED = "trained"
"""In the place of a run: a classifier that is trained with the job."""


def _check_start(start: str) -> str:
    if not start.removeprefix("run:"):
        raise ValueError("must name a run (example: run:digits-cnn-7f3a9c21)")
    return start


class Evaluate(Section):
    """How often metrics that take long are computed, and pictures are drawn of what the network makes of some samples.

    All other metrics are computed after each epoch, on all samples.
    """

    every: Epochs | None = None
    """Interval between two computations and pictures, such as `5 epochs`; the last epoch always has both. What goes by
    such a metric (`checkpoint.best`, early stopping, schedulers) compares these epochs only. Default: the metrics after
    each epoch, a picture after epochs 1, 2, 4, 8 and so on."""

    samples: int | None = Field(None, ge=2)
    """Number of samples of a part on which metrics that take long are computed, always the same ones; default: all."""

    features: Annotated[str, AfterValidator(_check_start)] | None = Field(None, min_length=1)
    """Compare new images with real ones by the features of a classifier: `trained` for a small one that is trained on
    the classes of the training part before the first step, `run:ID` for the model of an image-classification run, or
    the folder of one. Default: by the brightness of their parts alone."""

    @property
    def classifier(self) -> str | None:
        """The run or the folder of the classifier that `features` names; None where there is none to load."""
        return None if self.features == TRAINED else self.features


class Checkpoint(Section):
    """How often training is saved, and which weights become the model."""

    every: Interval = "1 epoch"
    """Interval between two checkpoints, such as `1 epoch`, `500 steps`, `5%` or `10 min`. After a failure or a pause a
    run resumes from the newest one."""

    keep: int = Field(2, ge=1, le=1000)
    """Number of newest checkpoints to keep; each also contains the best weights so far."""

    best: str | None = None
    """Metric that selects the model: the weights of the epoch with its best value, such as the highest accuracy/val;
    the lower loss decides between equal values. Default: the task's metric."""


class Training(Section):
    """How the network is trained. Training ends at `epochs`, `steps` or `time`, whichever comes first."""

    epochs: int | None = Field(None, ge=1, le=1_000_000)
    """Number of passes over the training samples; default: derived from the number of samples, unless `steps` or `time`
    is set."""

    steps: int | None = Field(None, ge=1, le=1_000_000_000)
    """Number of optimizer steps; default: no limit."""

    time: Time | None = None
    """Training time, such as `10 min`. When it is over, training ends successfully, without the rest of its learning
    rate schedule. Default: no limit."""

    batch_size: int | None = Field(None, ge=1, le=10_000_000)
    """Samples per optimizer step, over all workers together; default: a power of two from 16 to 512, derived from the
    number of samples."""

    micro_batch: int | None = Field(None, ge=1, le=10_000_000)
    """Samples that one worker computes at once; gradients are accumulated up to its share of `batch_size`. Set a lower
    value if a step does not fit the memory. Default: the whole share."""

    optimizer: OptimizersChoice = Field("adamw", validate_default=True)
    """Optimizer: sgd, adam, adamw or muon; or one for each parameter group of the network, such as
    `{generator: {type: adam, lr: 2e-4}, discriminator: {type: adam, lr: 4e-4}}` for a gan, which is
    like its default."""

    schedule: ScheduleChoice = Field("cosine", validate_default=True)
    """Learning rate schedule: constant, cosine, linear, one-cycle, step or plateau."""

    parallel: Literal["replicated", "fsdp"] = "replicated"
    """What several workers hold: each all weights (replicated), or each its part of weights, gradients and optimizer
    state (fsdp), for networks that do not fit one GPU; each layer's weights are then gathered when it computes."""

    activation_checkpoints: bool = False
    """Compute the outputs of the layers again in the backward pass instead of keeping them: a third more computation,
    for much less memory with many layers."""

    compile: bool = False
    """Compile the layers with torch.compile, if a timing of three steps shows that they are faster for it; the resolved
    file tells. It takes up to a minute, and needs a C++ compiler on the machine. It is not timed with `parallel: fsdp`.
    """

    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Floating-point type of the computation, fp32 or bf16; `auto` times both on the machine before the first step and
    keeps the choice for the whole run."""

    gradient_clip: float | None = Field(None, gt=0, allow_inf_nan=False)
    """Maximum norm of the gradient, such as `1.0`; a larger gradient is scaled down to it. Default: no clipping."""

    ema: float | None = Field(None, ge=0, lt=1)
    """Average the weights over the steps, each of which keeps this share of the average, such as `0.999`; evaluation,
    the best weights and the model are those of the average. It costs memory for one more copy of the weights. Default:
    0.999 for `diffusion`, whose images are poor without; of other networks, and with 0, no average."""

    evaluate: Evaluate = Field({}, validate_default=True)
    """How often metrics that take long are computed, and pictures are drawn."""

    threshold: float | None = Field(None, gt=0, lt=1)
    """Share of the normal validation images that pass for normal, such as 0.95, to find anomalies. Default: the share
    with the best F1 where there are labelled anomalies in the validation part, otherwise 0.95."""

    class_weights: ClassWeights | None = None
    """Weight of each class in the loss, such as `{spam: 5, ham: 1}`; classes that are not named have 1. `balanced`
    makes all classes of the training part weigh the same: samples / (classes * samples of the class), of streamed
    shards by the first one. It multiplies the weight of each sample, or in a segmentation that of each pixel's
    cross-entropy; other metrics do not change. Of tags, it multiplies the loss of the samples that have the tag;
    `balanced` is then the number of samples without the tag for each one with it. Default: every class has 1."""

    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Share of each label that is spread evenly over all classes in the cross-entropy (Szegedy et al. 2016), such as
    `0.1`."""

    mixup: float = Field(0.0, ge=0, le=10)
    """Add each image to another one of its batch, in shares from the beta distribution with this parameter (Zhang et
    al. 2018), such as `0.2`; the labels count in the same shares. 0: not at all."""

    cutmix: float = Field(0.0, ge=0, le=10)
    """Put a rectangle of another image of its batch into each image (Yun et al. 2019); its share of the area, by which
    both labels count, is from the beta distribution with this parameter, such as `1`. With `mixup`, each image has one
    of both. 0: not at all."""

    early_stopping: EarlyStopping | None = None
    """End training when a metric stops improving; default: off."""

    checkpoint: Checkpoint = Field({}, validate_default=True)
    """How often training is saved, and which weights become the model."""

    seed: int = Field(0, ge=0, lt=2**63)
    """Random seed of the initial weights, the order of the samples, augmentation and dropout."""

    start_from: Annotated[str, AfterValidator(_check_start)] | None = Field(None, min_length=1)
    """Start from trained weights instead of random ones: `run:ID` for the model of an earlier run, or the folder of a
    saved model."""
