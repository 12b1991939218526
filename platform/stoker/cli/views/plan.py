"""A plan as text and JSON: layers, data, steps and place."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from stoker.cli.views.formatting import duration_text
from stoker.cli.views.tables import fields_text, table_text

if TYPE_CHECKING:
    from stoker.job.own_code import AnyJob
    from stoker.job.section import Section
    from stoker.job.sweep import Sweep
    from stoker.job.training import OptimizerOrGroups
    from stoker.planning.own_code import CodePlan
    from stoker.planning.run import Layer, Plan
    from stoker.planning.sweep import SweepPlan
    from stoker.planning.tokens import TokenPlan

SHOWN_LAYERS = 24
SHOWN_CLASSES = 12
MENTIONED_PADDING = 0.01


def plan_json(plan: "Plan | CodePlan") -> dict[str, Any]:
    """Return the JSON of a plan."""
    from stoker.planning.own_code import CodePlan

    if isinstance(plan, CodePlan):
        job = plan.job.model_dump(mode="json", by_alias=True, exclude_none=True)
        values = {**asdict(plan), "job": job, "notes": list(plan.notes)}
        return {name: value for name, value in values.items() if name != "sweep" or value}
    return {
        "job": plan.job.model_dump(mode="json", by_alias=True, exclude_none=True),
        "layers": [asdict(layer) for layer in plan.layers],
        "inputs": plan.inputs,
        "parameters": plan.parameters,
        "trained": plan.trained,
        "memory_mib": plan.memory_mib,
        "memory_parts": asdict(plan.memory_parts),
        "exchange_mib": plan.exchange_mib,
        "memory_available_mib": plan.memory_available_mib,
        "parts": plan.parts,
        "steps_per_epoch": plan.steps_per_epoch,
        "steps": plan.steps,
        "epochs": plan.epochs,
        "place": plan.place,
        "notes": list(plan.notes),
        **({"tokens": asdict(plan.tokens)} if plan.tokens else {}),
        **({"sweep": asdict(plan.sweep)} if plan.sweep else {}),
    }


def plan_text(plan: "Plan | CodePlan") -> str:
    """Return a plan as text: layers, data, and a few lines; of own code, what is started and sent."""
    from stoker.planning.own_code import CodePlan

    if isinstance(plan, CodePlan):
        return _code_text(plan)
    free = f"of {plan.memory_available_mib:,.0f} MiB" if plan.memory_available_mib is not None else "for each worker"
    memory = f"about {plan.memory_mib:,.0f} MiB {free}"
    frozen = plan.trained < plan.parameters
    fields = [
        ("inputs", plan.inputs),
        ("parameters", f"{plan.parameters:,}" + (f", of which {plan.trained:,} are trained" if frozen else "")),
        ("memory", memory),
        ("of which", ", ".join(f"{name} {_mib(size)}" for name, size in asdict(plan.memory_parts).items())),
        ("exchange", f"{_mib(plan.exchange_mib)} MiB a step from each worker" if plan.exchange_mib else ""),
        ("training", f"{length_text(plan)}, {plan.job.training.batch_size} samples each"),
        ("tokens", _tokens_text(plan.tokens)),
        ("optimizer", optimizer_text(plan.job.training.optimizer)),
        ("schedule", settings_text(plan.job.training.schedule)),
        ("runs on", plan.place),
    ]
    blocks = [
        f"{plan.job.name}  {job_summary(plan.job)}",
        _layer_table(plan.layers),
        _data_table(plan.parts),
        fields_text(fields),
        _sweep_text(plan.sweep, plan.job.sweep),
        "\n".join(f"- {note}" for note in plan.notes),
    ]
    return "\n\n".join(filter(None, blocks))


def _tokens_text(tokens: "TokenPlan | None") -> str:
    """Return the tokens of a step and of an epoch, and the share of padding; empty without texts."""
    if tokens is None:
        return ""
    padding = f", {tokens.padding:.0%} of the places are padding" if tokens.padding >= MENTIONED_PADDING else ""
    return f"{tokens.step:,.0f} a step, {tokens.epoch:,} in an epoch{padding}"


def _mib(size: float) -> str:
    """Return an amount of memory in MiB."""
    return f"{size:,.0f}" if size >= 10 else f"{size:.2g}"


def _code_text(plan: "CodePlan") -> str:
    from stoker.planning.place import counted

    job = plan.job
    settings = ", ".join(f"{name} {sample_text(value)}" for name, value in job.settings.items())
    fields = [
        ("settings", settings),
        ("dataset", job.dataset.source if job.dataset else ""),
        ("code", f"{counted(plan.files, 'file')}, {plan.files_bytes / 1e3:,.0f} kB"),
        ("runs on", plan.place),
    ]
    notes = "\n".join(f"- {note}" for note in plan.notes)
    blocks = [f"{job.name}  {plan.runs}", fields_text(fields), _sweep_text(plan.sweep, job.sweep), notes]
    return "\n\n".join(filter(None, blocks))


def job_summary(job: "AnyJob") -> str:
    """Return in one line what a job trains."""
    from stoker.job.own_code import CodeJob
    from stoker.job.task import TASKS

    if isinstance(job, CodeJob):
        return job.entrypoint + (f" on {job.dataset.source}" if job.dataset else "")
    training = job.training
    family = job.architecture.family if job.architecture else TASKS[job.task].families[0]
    lengths = [
        f"{training.epochs} epochs" if training.epochs else "",
        f"{training.steps} steps" if training.steps else "",
        training.time or "",
    ]
    length = " or ".join(filter(None, lengths))
    return f"{job.task}: {family} on {job.dataset.source}" + (f", {length}" if length else "")


def _sweep_text(sweep: "SweepPlan | None", settings: "Sweep | None") -> str:
    """Return what a sweep varies, for how many trials and how long, and its first points."""
    if sweep is None or settings is None:
        return ""
    how = settings.search.type + ("" if settings.scheduler.type == "none" else f", {settings.scheduler.type}")
    most = "" if settings.scheduler.type == "none" else "at most "
    lengths = [
        f"{sweep.trials:,} trials" if sweep.trials else "",
        f"{settings.time}" if settings.time else "",
        f"{sweep.parallel} at once",
    ]
    fields = [
        ("sweep", f"{', '.join(filter(None, lengths))}; {how}"),
        ("compared by", ", ".join(f"{goal.name} ({goal.direction})" for goal in sweep.goals)),
        ("points", "continuous" if sweep.points is None else f"{sweep.points:,}"),
        ("takes", f"{most}about {duration_text(sweep.seconds)} of training" if sweep.seconds else ""),
        ("memory", f"about {sweep.memory_mib:,.0f} MiB for {sweep.parallel} trials" if sweep.memory_mib else ""),
    ]
    paths = list(dict.fromkeys(path for values in sweep.samples for path in values))
    rows = [
        [str(number), *(sample_text(values.get(path)) for path in paths)] for number, values in enumerate(sweep.samples)
    ]
    return f"{fields_text(fields)}\n\n{table_text(['trial', *paths], rows)}"


def optimizer_text(chosen: "OptimizerOrGroups") -> str:
    """Return the optimizer, or that of each group, with its settings."""
    if isinstance(chosen, dict):
        return "; ".join(f"{group}: {settings_text(each)}" for group, each in chosen.items())
    return settings_text(chosen)


def settings_text(settings: "Section") -> str:
    """Return the type of an optimizer or a schedule with the settings that do something."""
    kind, *others = settings.model_dump(mode="json", by_alias=True).items()
    return ", ".join([str(kind[1]), *(f"{name} {sample_text(value)}" for name, value in others if value)])


def sample_text(value: object) -> str:
    """Return a value of a point: numbers with four digits, objects in one line."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {sample_text(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return " ".join(sample_text(each) for each in value)
    return "" if value is None else str(value)


def length_text(plan: "Plan") -> str:
    """Return the length of training in epochs and steps, or as a time."""
    if not plan.steps:
        return f"{plan.job.training.time}, {plan.steps_per_epoch:,} steps an epoch"
    epochs = f"{plan.epochs:,} epochs of {plan.steps_per_epoch:,} steps, " if plan.epochs else ""
    return f"{epochs}{plan.steps:,} steps in all"


def _layer_table(layers: "tuple[Layer, ...]") -> str:
    rows = [[layer.name, layer.kind, "x".join(map(str, layer.shape)), f"{layer.parameters:,}"] for layer in layers]
    if len(rows) > SHOWN_LAYERS:
        half = SHOWN_LAYERS // 2
        hidden = layers[half:-half]
        gap = [f"... {len(hidden)} more", "", "", f"{sum(layer.parameters for layer in hidden):,}"]
        rows = [*rows[:half], gap, *rows[-half:]]
    return table_text(["layer", "kind", "output", "parameters"], rows, right=("parameters",)) if rows else ""


def _data_table(parts: dict[str, dict[str, int]]) -> str:
    classes = list(dict.fromkeys(name for counts in parts.values() for name in counts if name))
    if len(classes) <= SHOWN_CLASSES:
        head = ["part", "samples", *classes]
        rows = [
            [part, f"{sum(counts.values()):,}", *(f"{counts.get(name, 0):,}" for name in classes)]
            for part, counts in parts.items()
        ]
    else:
        head = ["part", "samples", "classes", "smallest", "largest"]
        rows = [
            [part, *(f"{n:,}" for n in (sum(counts.values()), len(counts), min(counts.values()), max(counts.values())))]
            for part, counts in parts.items()
        ]
    return table_text(head, rows, right=head[1:]) if rows else ""
