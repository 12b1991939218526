"""A model of transformers that classifies texts by its mean features; this file stands in exported folders."""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput


class MeanPooledConfig(PretrainedConfig):  # type: ignore[misc] # of a library without types
    """Description of the model below this head, and how a text becomes one vector."""

    model_type = "mean_pooled"

    def __init__(self, body: dict[str, Any] | None = None, pooling: str = "mean", **others: Any) -> None:
        self.body = body or {}
        self.pooling = pooling
        super().__init__(**others)


class MeanPooledClassifier(PreTrainedModel):  # type: ignore[misc] # of a library without types
    """The mean of the tokens' features, or the output of the model's own pooling layer, and a linear layer."""

    config_class = MeanPooledConfig
    base_model_prefix = "body"

    def __init__(self, config: MeanPooledConfig) -> None:
        super().__init__(config)
        described = AutoConfig.for_model(**config.body)
        self.body = AutoModel.from_config(described)
        if config.pooling == "mean" and hasattr(self.body, "pooler"):
            self.body.pooler = None
        self.output = nn.Linear(described.hidden_size, config.num_labels)
        self.post_init()

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, **others: Any
    ) -> SequenceClassifierOutput:
        """Return (B, labels) logits of (B, length) tokens; `attention_mask` is 0 where there is only padding."""
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        found = self.body(input_ids=input_ids, attention_mask=mask)
        if self.config.pooling == "pooler":
            return SequenceClassifierOutput(logits=self.output(found.pooler_output))
        weights = mask.unsqueeze(2).to(found.last_hidden_state.dtype)
        mean = (found.last_hidden_state * weights).sum(dim=1) / weights.sum(dim=1)
        return SequenceClassifierOutput(logits=self.output(mean))
