"""From noise to samples with the schedulers of Hugging Face's diffusers, which are imported when they are needed."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from torch import Tensor

from stoker.randomness import Noise

if TYPE_CHECKING:
    from stoker.architectures.generative.noise_levels import Diffused, NoiseLevels

PREDICTIONS = {"noise": "epsilon", "x0": "sample", "v": "v_prediction"}
Denoise = Callable[[Tensor, Tensor], Tensor]
"""From (B, ...) noised samples and a scalar time to what the network is asked for."""


def sampled(
    levels: "NoiseLevels", sampler: str, steps: int, clip: bool, start: Tensor, noise: Noise, denoise: Denoise
) -> Iterator[Tensor]:
    """Take the noise out of samples, step by step.

    Args:
        levels: of noise.
        sampler: `dpm-solver++`, `ddim`, `ddpm` or `euler`.
        steps: number of passes.
        clip: whether the samples are images, from -1 to 1.
        start: (B, ...) noise.
        noise: of the same rows, for samplers that add some in each step.
        denoise: the network.

    Yields:
        (B, ...) the samples after each step.

    """
    scheduler = _euler() if sampler == "euler" else _of_variance(levels, sampler, clip)  # type: ignore[arg-type]
    scheduler.set_timesteps(steps, device=start.device)
    more: dict[str, Any] = {"eta": 1.0} if sampler == "ddpm" else {}
    samples = start
    for time in scheduler.timesteps:
        if sampler == "ddpm":
            more["variance_noise"] = noise.normal(*start.shape[1:])
        samples = scheduler.step(denoise(samples, time), time, samples, return_dict=False, **more)[0]
        yield samples


def _euler() -> Any:
    from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler

    return FlowMatchEulerDiscreteScheduler()


def _of_variance(levels: "Diffused", sampler: str, clip: bool) -> Any:
    """Return a scheduler; ancestral steps are those of DDIM with all of the variance (Song et al. 2021)."""
    known = {
        "trained_betas": levels.betas,
        "num_train_timesteps": len(levels.betas),
        "prediction_type": PREDICTIONS[levels.predicts],
        "timestep_spacing": "trailing",
    }
    if sampler == "dpm-solver++":
        from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler

        return DPMSolverMultistepScheduler(**known)
    from diffusers.schedulers.scheduling_ddim import DDIMScheduler

    return DDIMScheduler(**known, clip_sample=clip, set_alpha_to_one=True)
