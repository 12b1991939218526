"""Pretrained models that fill in words: what they compute, and what of them is new where they lack output layers."""

from typing import Any

import pytest
import torch

from stoker.architectures.network import build_network, misfits, network_notes
from stoker.architectures.pretrained.masked import PretrainedMasked
from stoker.datasets.model_files import read_tokenizer
from stoker.datasets.tokens.pretrained import PretrainedTokenizer
from stoker.datasets.tokens.tokenizer import MASK, SPECIAL
from stoker.job.architecture.pretrained import Pretrained
from stoker.job.signature import CHOSEN, BlanksOutput, ClassOutput, ContinuationOutput, Signature, TextInput

VOCABULARY = 40
SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("BertForMaskedLM", SIZES),
    "roberta": ("RobertaForMaskedLM", SIZES),
    "distilbert": ("DistilBertForMaskedLM", {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32}),
    "electra": ("ElectraForMaskedLM", {**SIZES, "embedding_size": 8}),
    "albert": ("AlbertForMaskedLM", {**SIZES, "embedding_size": 8}),
    "mpnet": ("MPNetForMaskedLM", SIZES),
    "deberta-v2": ("DebertaV2ForMaskedLM", SIZES),
    "modernbert": ("ModernBertForMaskedLM", {**SIZES, "pad_token_id": 1}),
}
VARIANTS: dict[str, dict[str, Any]] = {"whole": {}, "lora": {"lora": {"rank": 2}}, "frozen": {"frozen": 1}}
every_variant = pytest.mark.parametrize("settings", VARIANTS.values(), ids=VARIANTS)


def settings_of(model: object, **settings: Any) -> Pretrained:
    return Pretrained.model_validate({"family": "pretrained", "model": str(model), **settings})


def signature_of(vocabulary: int, mask: int = SPECIAL + 4) -> Signature:
    return Signature({"text": TextInput(vocabulary, 12)}, BlanksOutput(vocabulary, 12, mask))


@pytest.fixture
def made(tiny_model):
    """Build a network of a tiny BERT with (`mlm`) or without (`bert`) output layers."""

    def make(kind: str = "mlm", **settings: Any) -> PretrainedMasked:
        tokenizer = PretrainedTokenizer.from_asset(read_tokenizer(str(tiny_model(kind)), ""))
        architecture, signature = (
            settings_of(tiny_model(kind), **settings),
            signature_of(tokenizer.size, tokenizer.mask),
        )
        assert misfits(architecture, signature) == []
        torch.manual_seed(0)
        network = build_network(architecture, signature)
        assert isinstance(network, PretrainedMasked)
        return network

    return make


@pytest.mark.parametrize("kind", FAMILIES)
@pytest.mark.parametrize("lora", ["none", {"rank": 2}], ids=["whole", "lora"])
def test_logits_are_those_of_transformers_at_all_places_and_at_chosen_ones(kind, lora, tmp_path):
    import transformers

    name, sizes = FAMILIES[kind]
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(kind, vocab_size=VOCABULARY, **sizes)
    getattr(transformers, name)(config).save_pretrained(tmp_path)
    theirs = transformers.AutoModelForMaskedLM.from_pretrained(tmp_path).eval()
    signature = signature_of(VOCABULARY + SPECIAL)
    assert misfits(settings_of(tmp_path, lora=lora), signature) == []
    network = build_network(settings_of(tmp_path, lora=lora), signature).eval()
    ids = torch.tensor([[2, 5, 4, 7, 3], [2, 9, 3, 0, 0]])
    there = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    with torch.no_grad():
        expected = theirs(input_ids=ids, attention_mask=there).logits
    tokens = (ids + SPECIAL) * there
    found = network({"text": tokens})
    assert found.shape == (2, 5, VOCABULARY + SPECIAL)
    torch.testing.assert_close(found[..., SPECIAL:][there == 1], expected[there == 1], atol=1e-5, rtol=1e-4)
    chosen = torch.zeros(2, 5, dtype=torch.bool)
    chosen[0, 2] = chosen[1, 1] = chosen[0, 3] = True
    few = network({"text": tokens, CHOSEN: chosen})
    torch.testing.assert_close(few, found[chosen], atol=1e-5, rtol=1e-4)
    assert not few.softmax(dim=1)[:, :SPECIAL].any()


def test_a_guess_depends_neither_on_padding_nor_on_other_texts(made):
    network = made().eval()
    texts = [[6, 13, 8, 7], [6, 8, 7], [6, 14, 12, 8, 18, 7]]
    alone = [network({"text": torch.tensor([text])})[0] for text in texts]
    for width in (6, 12):
        padded = torch.tensor([text + [0] * (width - len(text)) for text in texts])
        for text, one, together in zip(texts, alone, network({"text": padded}), strict=True):
            torch.testing.assert_close(together[: len(text)], one, atol=1e-6, rtol=1e-5)


@every_variant
@pytest.mark.parametrize("rows", [0, 2])
def test_a_batch_without_hidden_words_has_gradients_of_zero(rows, settings, made):
    network = made(**settings)
    tokens = torch.full((rows, 3), 7)
    output = network({"text": tokens, CHOSEN: torch.zeros_like(tokens, dtype=torch.bool)})
    assert output.shape == (0, network.vocabulary)
    output.sum().backward()
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    assert all(p.grad is not None and not p.grad.any() for p in trained)
    assert network({"text": tokens}).shape == (rows, 3, network.vocabulary)


@every_variant
def test_what_is_trained_and_what_is_not_saved_complete_each_other(settings, made):
    network = made(**settings)
    trained = {name for name, each in network.named_parameters() if each.requires_grad}
    assert trained | network.unchanged_weights() == set(network.state_dict())
    assert not trained & network.unchanged_weights()
    for name, parameter in network.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter)
    network({"text": torch.tensor([[6, 13, 8, 7]])}).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name
    output = network.output.cls.predictions
    whole = not settings
    assert (output.decoder.weight is network.body.embeddings.word_embeddings.weight) is True
    assert output.decoder.weight.requires_grad is whole
    assert output.transform.LayerNorm.weight.requires_grad is ("lora" not in settings)


@pytest.mark.parametrize("device", ["cpu", "meta"])
@every_variant
def test_new_output_layers_are_trained_whatever_else_is_not(settings, device, made):
    with torch.device(device):
        network = made("bert", **settings)
    names = {
        name.removeprefix("output.cls.predictions.")
        for name, each in network.named_parameters()
        if name.startswith("output.") and each.requires_grad
    }
    assert names == {"bias", "transform.dense.weight", "transform.dense.bias"} | {
        f"transform.LayerNorm.{each}" for each in ("weight", "bias")
    }
    assert not any("lora_" in name for name, _ in network.output.named_parameters())
    below = [each.requires_grad for name, each in network.body.named_parameters() if "lora_" not in name]
    assert all(below) is (settings == {})


def test_a_plan_says_that_output_layers_are_new(made, tiny_model):
    for kind in ("bert", "mlm"):
        network = made(kind)
        settings = settings_of(tiny_model(kind))
        notes = network_notes(settings, signature_of(network.vocabulary))
        new = 16 * 16 + 3 * 16 + network.vocabulary - SPECIAL
        expected = f"'{settings.model}' has no output layers for this task: it gets new ones, of {new} weights"
        assert notes == ([expected] if kind == "bert" else [])
        assert network_notes(settings, Signature({"text": TextInput(30, 12)}, ClassOutput(("a", "b")))) == []


def test_a_model_of_another_kind_is_refused_with_the_kinds_that_fit(tiny_model, tmp_path):
    import transformers

    transformers.BartConfig(d_model=8, encoder_layers=1, decoder_layers=1).save_pretrained(tmp_path)
    fit = "use an encoder that fills in words, such as BERT, RoBERTa or ModernBERT"
    for folder, message in {
        tiny_model("gpt2"): "(gpt2) does not fill in words",
        tmp_path: "(bart) reads one text and writes another",
    }.items():
        (problem,) = misfits(settings_of(folder), signature_of(30))
        assert problem.path == "architecture.model"
        assert problem.message == f"'{folder}' {message}; {fit}"
    continuing = Signature({"text": TextInput(30, 12)}, ContinuationOutput(30, borders=True))
    (problem,) = misfits(settings_of(tiny_model("bert")), continuing)
    assert problem.message.endswith(
        "(bert) sees the words behind a place, too, and does not continue texts; use a decoder such as GPT-2 or Llama"
    )


def test_settings_of_a_head_and_a_tokenizer_without_a_mask_are_refused(tiny_model):
    settings = settings_of(tiny_model("mlm"), frozen="all", pooling="pooler", dropout=0.3)
    found = misfits(settings, signature_of(20, MASK))
    assert [problem.path for problem in found] == [
        "dataset.text.tokenizer",
        "architecture.frozen",
        "architecture.pooling",
        "architecture.dropout",
    ]
    assert found[0].message == "has no token for a hidden word ([MASK] or <mask>); use the model's own"


def test_weights_below_the_output_have_the_names_that_a_classifier_has(made, tiny_model):
    network = made()
    classes = Signature({"text": TextInput(network.vocabulary, 12)}, ClassOutput(("a", "b")))
    classifier = build_network(settings_of(tiny_model("mlm")), classes).state_dict()
    shared = set(classifier) & set(network.state_dict())
    assert set(classifier) - shared == {"output.weight", "output.bias"}
    assert shared == {name for name in network.state_dict() if name.startswith("body.")}


def test_the_whole_model_follows_the_mode(made):
    network = made().eval()
    assert not network.model.training
    assert network.train().model.training
