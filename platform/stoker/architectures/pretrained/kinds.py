"""Kinds of pretrained models: which class of transformers loads the one that a task needs, and which models fit."""

from typing import Any

from stoker.errors import Problem
from stoker.job.signature import BlanksOutput, ContinuationOutput, Output, Signature, TextOutput

MODEL = "architecture.model"
FEATURES, CAUSAL, MASKED = "AutoModel", "AutoModelForCausalLM", "AutoModelForMaskedLM"
FROM_TEXTS = "AutoModelForSeq2SeqLM"
WITH_OUTPUT: dict[type[Output | None], str] = {ContinuationOutput: CAUSAL, BlanksOutput: MASKED, TextOutput: FROM_TEXTS}
"""Classes of models with an output layer of their own, by what a network puts out; all others get a new head."""
FITTING = {
    FEATURES: "an encoder such as BERT, or a decoder",
    CAUSAL: "a decoder such as GPT-2 or Llama",
    MASKED: "an encoder that fills in words, such as BERT, RoBERTa or ModernBERT",
    FROM_TEXTS: "an encoder and decoder such as T5 or BART",
}


def auto_class(signature: Signature) -> str:
    """Return the class of transformers that loads a model for a network."""
    return WITH_OUTPUT.get(type(signature.output), FEATURES)


def unfit(config: Any, model: str, signature: Signature) -> list[Problem]:
    """Return a problem for a model of another kind than a network needs.

    Args:
        config: the model's own description.
        model: as the job names it.
        signature: of the network.

    """
    kind = auto_class(signature)
    if not (reason := _reason(config, kind)):
        return []
    return [Problem(MODEL, f"'{model}' ({config.model_type}) {reason}; use {FITTING[kind]}")]


def _reason(config: Any, kind: str) -> str:
    """Return why a model is not of a kind; empty if it is."""
    import transformers

    fills = type(config) in transformers.MODEL_FOR_MASKED_LM_MAPPING
    writes = type(config) in transformers.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING
    if kind == FROM_TEXTS:
        return "" if writes else "does not write a text from another"
    if getattr(config, "is_encoder_decoder", False):
        return "reads one text and writes another"
    if kind == MASKED and not fills:
        return "does not fill in words"
    if kind == CAUSAL and fills and not getattr(config, "is_decoder", False):
        return "sees the words behind a place, too, and does not continue texts"
    return ""
