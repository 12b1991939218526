"""Writes a trained network in the formats of transformers and peft, which load it without Stoker."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from stoker.architectures.pretrained.body import quiet
from stoker.architectures.pretrained.kinds import CAUSAL, FEATURES, FROM_TEXTS, auto_class
from stoker.datasets.tokens.pretrained import MASKS
from stoker.errors import JobError, Problem
from stoker.job.signature import Output, Signature, SpanOutput, TagsOutput, WordTagsOutput

ADAPTER, HEAD, NEW = "adapter_model.safetensors", "head.safetensors", "new_layers.safetensors"
OF_TOKENS: dict[type[Output | None], str] = {
    WordTagsOutput: "AutoModelForTokenClassification",
    SpanOutput: "AutoModelForQuestionAnswering",
}
"""The class of transformers by what is said of each token."""
PEFT_TASKS = {CAUSAL: "CAUSAL_LM", FEATURES: "FEATURE_EXTRACTION", FROM_TEXTS: "SEQ_2_SEQ_LM"}
"""What peft calls the use of a model, by its class; it has no word for other classes."""
PROBE = 8
"""Tokens by which an exported model is compared with the network."""
TOLERANCE = 1e-4


def write_model(body: Any, head: nn.Linear | None, pooling: str, signature: Signature, folder: Path) -> str:
    """Write config.json and model.safetensors of a model without adapters; return the Python code that loads it.

    Args:
        body: a model of transformers.
        head: the layer above it; None for one with its own output.
        pooling: what stands for a text below the head.
        signature: of the network.
        folder: to write to.

    Raises:
        JobError: transformers has no class for such a model.

    """
    body.config.use_cache = True
    name = OF_TOKENS.get(type(signature.output), "AutoModelForSequenceClassification")
    trust = ""
    if head is None:
        name, model = auto_class(signature), body
    elif type(signature.output) in OF_TOKENS:
        model = _of_tokens(body, head, name, signature)
    else:
        model, trust = _of_texts(body, head, pooling, signature), ", trust_remote_code=True"
    with quiet():
        model.eval().save_pretrained(folder)
    lines = (
        f"from transformers import {name}, AutoTokenizer",
        f'model = {name}.from_pretrained("{folder}"{trust})',
        f'tokenizer = AutoTokenizer.from_pretrained("{folder}"{trust})',
    )
    return "\n".join(lines)


def write_adapters(body: Any, head: nn.Linear | None, origin: str, signature: Signature, folder: Path) -> str:
    """Write the adapters in peft's format, and the head; return the Python code that loads them.

    Args:
        body: a model with adapters.
        head: the layer above it; None for one with its own output.
        origin: the model below the adapters, as the job names it.
        signature: of the network.
        folder: to write to.

    """
    name = auto_class(signature)
    folder.mkdir(parents=True, exist_ok=True)
    config = deepcopy(body.peft_config["default"])
    config.target_modules = set(adapted_layers(body))  # by their whole names: the model below may have others
    config.base_model_name_or_path, config.inference_mode = origin, True
    config.task_type = PEFT_TASKS.get(name)
    config.save_pretrained(folder)
    weights = {
        f"base_model.model.{key.replace('.default.', '.')}": value.detach().cpu().contiguous()
        for key, value in body.state_dict().items()
        if ".lora_" in key
    }
    save_file(weights, folder / ADAPTER, metadata={"format": "pt"})
    lines = [
        "from peft import PeftModel",
        f"from transformers import {name}, AutoTokenizer",
        f'model = PeftModel.from_pretrained({name}.from_pretrained("{origin}"), "{folder}")',
        f'tokenizer = AutoTokenizer.from_pretrained("{folder}")',
    ]
    if new := {key: each.detach().cpu() for key, each in body.named_parameters() if _is_new(key, each)}:
        save_file(new, folder / NEW)
        lines.append(f'new = safetensors.torch.load_file("{folder / NEW}")  # layers that the model below lacks')
        lines.append("model.get_base_model().load_state_dict(new, strict=False)")
    if head is not None:
        save_file({key: value.detach().cpu() for key, value in head.state_dict().items()}, folder / HEAD)
        lines.append(f'head = safetensors.torch.load_file("{folder / HEAD}")  # of the linear layer above the features')
    if new or head is not None:
        lines.insert(0, "import safetensors.torch")
    return "\n".join(lines)


def _is_new(name: str, parameter: nn.Parameter) -> bool:
    """Return whether a weight of a model with adapters is trained itself: it is not in the model's files."""
    return parameter.requires_grad and ".lora_" not in name


def write_tokenizer(content: str, config: Any, length: int, folder: Path) -> None:
    """Write a tokenizer.json with the names of the tokens that pad and end a text, and the most tokens of one."""
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    library = Tokenizer.from_str(content)
    ends = config.eos_token_id
    numbers = {"pad_token": config.pad_token_id, "eos_token": ends[0] if isinstance(ends, list) else ends}
    names = {key: library.id_to_token(number) for key, number in numbers.items() if number is not None}
    names["pad_token"] = names.get("pad_token") or names.get("eos_token")
    if masks := [name for name in MASKS if library.token_to_id(name) is not None]:
        names["mask_token"] = masks[0]
    PreTrainedTokenizerFast(tokenizer_object=library, model_max_length=length, **names).save_pretrained(folder)


def adapted_layers(body: nn.Module) -> dict[str, Any]:
    """Return the layers with adapters by name."""
    from peft.tuners.lora import LoraLayer

    return {name: layer for name, layer in body.named_modules() if isinstance(layer, LoraLayer)}


def merge_adapters(body: nn.Module) -> None:
    """Add to each layer what its adapter adds, and put it back in its place."""
    for name, layer in adapted_layers(body).items():
        layer.merge()
        body.set_submodule(name, layer.get_base_layer())


def _of_texts(body: Any, head: nn.Linear, pooling: str, signature: Signature) -> Any:
    from stoker.architectures.pretrained.mean_pooled import MeanPooledClassifier, MeanPooledConfig

    MeanPooledConfig.register_for_auto_class()
    MeanPooledClassifier.register_for_auto_class("AutoModelForSequenceClassification")
    several = isinstance(signature.output, TagsOutput)
    config = MeanPooledConfig(
        body=body.config.to_dict(),
        pooling=pooling,
        problem_type="multi_label_classification" if several else "single_label_classification",
        **_labels(signature),
    )
    model = MeanPooledClassifier(config)
    model.body.load_state_dict(body.state_dict())
    model.output.load_state_dict(head.state_dict())
    return model


def _of_tokens(body: Any, head: nn.Linear, name: str, signature: Signature) -> Any:
    """Return the model of transformers' own class, whose only head is a linear layer."""
    import transformers

    config = deepcopy(body.config)
    for key, value in _labels(signature).items():
        setattr(config, key, value)
    refusal = JobError([Problem("", f"transformers has no {name} for {config.model_type} with a single linear layer")])
    try:
        model = getattr(transformers, name).from_config(config).eval()
    except ValueError as error:
        raise refusal from error
    below = {id(module) for module in model.base_model.modules()}
    heads = [module for module in model.modules() if id(module) not in below and isinstance(module, nn.Linear)]
    if len(heads) != 1 or heads[0].weight.shape != head.weight.shape:
        raise refusal
    try:
        model.base_model.load_state_dict(body.state_dict())
        heads[0].load_state_dict(head.state_dict())
    except RuntimeError as error:
        raise refusal from error
    tokens = (torch.arange(PROBE) % config.vocab_size).unsqueeze(0)
    with torch.inference_mode():
        found = model(input_ids=tokens)
        logits = found.logits if "logits" in found else torch.stack([found.start_logits, found.end_logits], dim=2)
        if not torch.allclose(logits, head(body.eval()(input_ids=tokens).last_hidden_state), TOLERANCE, TOLERANCE):
            raise refusal
    return model


def _labels(signature: Signature) -> dict[str, Any]:
    output = signature.output
    names = output.tags if isinstance(output, TagsOutput) else signature.classes
    numbered = dict(enumerate(names))
    return {"id2label": numbered, "label2id": {name: number for number, name in numbered.items()}} if names else {}
