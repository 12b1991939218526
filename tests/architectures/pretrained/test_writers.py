"""Pretrained models that write a text from another one: what they compute, step by step and at once."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from stoker.architectures.network import build_network, misfits, with_default_sizes
from stoker.architectures.pretrained.encoder_decoder import PretrainedEncoderDecoder
from stoker.datasets.fields.texts.target_text import TargetTextField
from stoker.datasets.tokens.tokenizer import END, SPECIAL
from stoker.job.architecture.pretrained import Pretrained
from stoker.job.dataset import Dataset
from stoker.job.signature import WRITTEN, BlanksOutput, ClassOutput, Signature, TextInput, TextOutput
from stoker.tasks.abilities import can_align, can_write
from stoker.tasks.writing.beam_search import Search, searched

VOCABULARY = 40
BOTH = {f"{side}_{name}": 2 for side in ("encoder", "decoder") for name in ("layers", "attention_heads")} | {
    f"{side}_ffn_dim": 32 for side in ("encoder", "decoder")
}
T5 = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2, "decoder_start_token_id": 0}
OWN = {"d_model": 16, "max_position_embeddings": 24, **BOTH}
FAMILIES: dict[str, dict[str, Any]] = {
    "t5": T5,
    "umt5": {**T5, "feed_forward_proj": "gated-gelu"},
    "bart": OWN,
    "mbart": {**OWN, "decoder_start_token_id": 2},
    "marian": {**OWN, "pad_token_id": 39, "decoder_start_token_id": 39, "eos_token_id": 0},
    "pegasus": OWN,
    "m2m_100": OWN,
}
VARIANTS: dict[str, dict[str, Any]] = {"whole": {}, "lora": {"lora": {"rank": 2}}, "frozen": {"frozen": 1}}
every_family = pytest.mark.parametrize("kind", FAMILIES)
every_variant = pytest.mark.parametrize("settings", VARIANTS.values(), ids=VARIANTS)
SIGNATURE = Signature(
    {"en": TextInput(VOCABULARY + SPECIAL, 12)}, TextOutput(VOCABULARY + SPECIAL, length=13, longest=9)
)
SOURCES = [[9, 15, 20, 12], [30, 31], [22]]
WRITTEN_TEXTS = [[END, 17, 18, 25], [END, 40], [END, 12, 13]]


def settings_of(model: object, **settings: Any) -> Pretrained:
    return Pretrained.model_validate({"family": "pretrained", "model": str(model), **settings})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Write a random model of a family, whose outputs differ much from each other."""
    import transformers

    def write(kind: str) -> Path:
        place = Path(tmp_path_factory.getbasetemp()) / f"writer-{kind}"
        if not place.exists():
            torch.manual_seed(0)
            config = transformers.AutoConfig.for_model(kind, vocab_size=VOCABULARY, **FAMILIES[kind])
            model = transformers.AutoModelForSeq2SeqLM.from_config(config)
            for parameter in model.parameters():
                parameter.data += 0.3 * torch.randn_like(parameter)
            if "final_logits_bias" in dict(model.named_buffers()):
                model.final_logits_bias[:, config.pad_token_id] = -1e4
            model.save_pretrained(place)
        return place

    return write


@pytest.fixture
def made(folder) -> Any:
    def make(kind: str = "t5", **settings: Any) -> PretrainedEncoderDecoder:
        architecture = with_default_sizes(settings_of(folder(kind), **settings), SIGNATURE, 100)
        assert misfits(architecture, SIGNATURE) == []
        network = build_network(architecture, SIGNATURE)
        assert isinstance(network, PretrainedEncoderDecoder)
        return network

    return make


def padded(texts: list[list[int]], width: int) -> torch.Tensor:
    return torch.tensor([text + [0] * (width - len(text)) for text in texts])


@every_family
@pytest.mark.parametrize("lora", ["none", {"rank": 2}], ids=["whole", "lora"])
def test_what_follows_is_what_transformers_expects(kind, lora, folder, made):
    import transformers

    body = transformers.AutoModelForSeq2SeqLM.from_pretrained(folder(kind)).eval()
    own = torch.tensor(WRITTEN_TEXTS[0]) - SPECIAL
    own[0] = body.config.decoder_start_token_id
    with torch.no_grad():
        theirs = body(input_ids=torch.tensor([SOURCES[0]]) - SPECIAL, decoder_input_ids=own.unsqueeze(0)).logits
    found = made(kind, lora=lora).eval()({"en": torch.tensor([SOURCES[0]]), WRITTEN: torch.tensor([WRITTEN_TEXTS[0]])})
    end, padding = body.config.eos_token_id, body.config.pad_token_id
    others = [number for number in range(VOCABULARY) if number not in (end, padding)]
    torch.testing.assert_close(found[..., SPECIAL:][..., others], theirs[..., others], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found[..., END], theirs[..., end], atol=1e-5, rtol=1e-4)
    never = found[..., [0, 1, 3, SPECIAL + end, SPECIAL + padding]]
    assert (never < found[..., SPECIAL:][..., others].amin() - 1e3).all()


@every_family
def test_texts_depend_neither_on_padding_nor_on_their_neighbours(kind, made):
    network = made(kind).eval()
    alone = [
        network({"en": torch.tensor([source]), WRITTEN: torch.tensor([written])})[0]
        for source, written in zip(SOURCES, WRITTEN_TEXTS, strict=True)
    ]
    for width in (4, 7):
        together = network({"en": padded(SOURCES, width), WRITTEN: padded(WRITTEN_TEXTS, width)})
        for one, found in zip(alone, together, strict=True):
            torch.testing.assert_close(found[: len(one)], one, atol=1e-5, rtol=1e-4)


@every_family
def test_writing_token_by_token_expects_the_same_as_writing_at_once(kind, made):
    network = made(kind).eval()
    assert can_write(network)
    written = torch.tensor([[END, 17, 18, 25], [END, 40, 9, 10], [END, 12, 13, 14]])
    expected = network({"en": padded(SOURCES, 4), WRITTEN: written})
    memory, found = network.begin({"en": padded(SOURCES, 4)}), []
    for column in written[:, :2].unbind(1):
        logits, memory = network.write(column, memory)
        found.append(logits)
    torch.testing.assert_close(torch.stack(found, dim=1), expected[:, :2], atol=1e-5, rtol=1e-4)
    rows = torch.tensor([2, 0, 2, 2])  # other rows, and more of them
    memory.choose(rows)
    logits, memory = network.write(written[rows, 2], memory)
    torch.testing.assert_close(logits, expected[rows, 2], atol=1e-5, rtol=1e-4)
    memory.choose(torch.tensor([1, 0]))
    logits, memory = network.write(written[[0, 2], 3], memory)
    torch.testing.assert_close(logits, expected[[0, 2], 3], atol=1e-5, rtol=1e-4)


def generated(body: Any, source: list[int], **how: Any) -> torch.Tensor:
    """Return the tokens that transformers writes for a text, without the one that it begins with."""
    tokens = torch.tensor([source]) - SPECIAL
    written: torch.Tensor = body.generate(tokens, do_sample=False, max_new_tokens=9, forced_eos_token_id=None, **how)
    return written[0, 1:]


@every_family
def test_the_likeliest_tokens_are_those_that_transformers_generates(kind, folder, made):
    import transformers

    body = transformers.AutoModelForSeq2SeqLM.from_pretrained(folder(kind)).eval()
    network = made(kind).eval()
    for source in SOURCES:
        theirs = generated(body, source, num_beams=1, suppress_tokens=[body.config.pad_token_id])
        with torch.inference_mode():
            own = searched(network, {"en": torch.tensor([source])}, 9, Search())[0]
        own = own[own != 0]
        expected = torch.where(theirs == body.config.eos_token_id, END, theirs + SPECIAL)
        assert own.tolist() == expected.tolist()


@pytest.mark.parametrize("length_penalty", [1.0, 0.0, 2.0])
@pytest.mark.parametrize("kind", ["bart", "marian"])
def test_a_beam_finds_the_texts_that_transformers_finds(kind, length_penalty, folder, made):
    """Those with a bias that forbids padding: both then share out all of the probability among the other tokens."""
    import transformers

    body = transformers.AutoModelForSeq2SeqLM.from_pretrained(folder(kind)).eval()
    network = made(kind).eval()
    for source in SOURCES:
        theirs = generated(body, source, num_beams=3, length_penalty=length_penalty, early_stopping=True)
        with torch.inference_mode():
            own = searched(network, {"en": torch.tensor([source])}, 9, Search(3, length_penalty))[0]
        own, theirs = own[own != 0], theirs[theirs != body.config.pad_token_id]
        assert own.tolist() == torch.where(theirs == body.config.eos_token_id, END, theirs + SPECIAL).tolist()


def test_no_two_tokens_are_written_twice_where_that_is_forbidden(made):
    network = made("bart", beam=2, no_repeat=2).eval()
    search = Search.of(network)
    assert search == Search(2, 1.0, 2)
    with torch.inference_mode():
        for text in searched(network, {"en": padded(SOURCES, 4)}, 12, search).tolist():
            pairs = [pair for pair in pairwise(text) if 0 not in pair]
            assert len(pairs) == len(set(pairs))


@every_family
def test_an_alignment_sums_to_one_without_padding(kind, made):
    network = made(kind).eval()
    assert can_align(network)
    inputs = {"en": padded(SOURCES, 6), WRITTEN: padded(WRITTEN_TEXTS, 4)}
    before = network(inputs)
    weights = network.align(inputs)
    assert weights.shape == (3, 4, 6)
    torch.testing.assert_close(weights.sum(dim=2), torch.ones(3, 4))
    for row, source in enumerate(SOURCES):
        assert not weights[row, :, len(source) :].any()
    torch.testing.assert_close(network(inputs), before, atol=1e-6, rtol=1e-6)  # by the fast kernel again


@pytest.mark.parametrize("kind", ["t5", "bart"])
@every_variant
def test_a_batch_without_texts_has_gradients_of_zero(settings, kind, made):
    network = made(kind, **settings)
    none = torch.zeros(0, 3, dtype=torch.int64)
    output = network({"en": none, WRITTEN: none[:, :2]})
    assert output.shape == (0, 2, VOCABULARY + SPECIAL)
    output.sum().backward()
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    assert all(p.grad is not None and not p.grad.any() for p in trained)


@pytest.mark.parametrize("kind", ["t5", "umt5", "bart"])
@every_variant
def test_what_is_trained_gets_gradients_and_the_rest_is_not_saved(settings, kind, made):
    network = made(kind, **settings)
    for name, parameter in network.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter)
    network({"en": padded(SOURCES, 4), WRITTEN: padded(WRITTEN_TEXTS, 4)})[..., SPECIAL:].square().sum().backward()
    trained = {name for name, each in network.named_parameters() if each.requires_grad}
    for name, parameter in network.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name
    buffers = {name for name, _ in network.named_buffers() if name != "special"}
    assert trained | network.unchanged_weights() | buffers == set(network.state_dict())
    assert not trained & network.unchanged_weights()
    if "frozen" in settings:
        assert {name.partition("block." if kind != "bart" else "layers.")[2][:1] for name in trained} <= {"1", ""}
        for side in ("encoder", "decoder"):
            assert any(f"{side}." in name and ".1." in name for name in trained)
            assert not any(f"{side}.embed" in name for name in trained)
        assert "body.lm_head.weight" not in trained  # it is the embedding
    elif settings:
        assert {name.rsplit(".", 3)[1] for name in trained} == {"lora_A", "lora_B"}
        assert not any("lm_head" in name for name in trained)


def test_a_model_of_another_kind_is_refused_with_the_kinds_that_fit(tiny_model, folder):
    for kind in ("bert", "gpt2"):
        (problem,) = misfits(settings_of(tiny_model(kind)), SIGNATURE)
        message = f"'{tiny_model(kind)}' ({kind}) does not write a text from another"
        assert problem.path == "architecture.model"
        assert problem.message == f"{message}; use an encoder and decoder such as T5 or BART"
    for output in (ClassOutput(("a", "b")), BlanksOutput(VOCABULARY, 12, 9)):
        (problem,) = misfits(settings_of(folder("t5")), Signature(SIGNATURE.inputs, output))
        assert "(t5) reads one text and writes another; use an encoder" in problem.message


def test_a_model_without_ends_of_texts_and_settings_of_a_head_are_refused(folder, tmp_path):
    import transformers

    transformers.T5Config(**{**T5, "decoder_start_token_id": None, "eos_token_id": None}).save_pretrained(tmp_path)
    found = misfits(settings_of(tmp_path, frozen="all", dropout=0.3), SIGNATURE)
    assert [problem.path for problem in found] == ["architecture.model"] * 2 + [
        "architecture.frozen",
        "architecture.dropout",
    ]
    lacks = f"config.json of '{tmp_path}' has no"
    assert found[0].message == f"{lacks} eos_token_id, the end of a text; add it"
    assert found[1].message == f"{lacks} decoder_start_token_id, the beginning of a text that is written; add it"


def test_how_texts_are_searched_for_is_of_models_that_write_them(tiny_model, folder):
    settings = with_default_sizes(settings_of(folder("t5"), beam=2), SIGNATURE, 100)
    assert (settings.beam, settings.length_penalty, settings.no_repeat) == (2, 1.0, 0)
    other = Signature(SIGNATURE.inputs, ClassOutput(("a", "b")))
    (problem,) = misfits(settings_of(tiny_model("bert"), beam=2), other)
    assert problem.path == "architecture.beam"
    assert "it is for translation and summarization" in problem.message
    assert with_default_sizes(settings_of(tiny_model("bert")), other, 100).beam is None


@every_family
def test_weights_are_not_read_to_build_on_the_meta_device(kind, folder):
    settings = settings_of(folder(kind), lora={"rank": 2})
    with torch.device("meta"):
        network = build_network(settings, SIGNATURE)
        ones = torch.ones(1, 9, dtype=torch.int64)
        assert network({"en": ones, WRITTEN: ones}).shape == (1, 9, VOCABULARY + SPECIAL)


@pytest.mark.parametrize("kind", ["t5", "bart"])
def test_a_text_to_learn_is_what_the_models_own_tokenizer_makes_of_it(kind, tiny_model):
    import transformers

    settings = Dataset.model_validate({"source": "d", "text": {"tokenizer": str(tiny_model(kind))}})
    texts = pd.Series(["der Hund sieht kein Kater", "", "rote, rote"], dtype=object)
    field = TargetTextField.fit_with("de", texts, [], settings)
    encoded = field.encode(texts).take(torch.arange(3)).tolist()
    own = transformers.PreTrainedTokenizerFast(tokenizer_file=str(tiny_model(kind) / "tokenizer.json"))
    end = {"t5": 1, "bart": 2}[kind]
    for text, row in zip(texts, encoded, strict=True):
        numbers = [end if number == END else number - SPECIAL for number in row if number]
        assert numbers == own(text)["input_ids"]
        assert row[len(numbers) - 1] == END
        assert field.text(row) == text
    longest = max(sum(number != 0 for number in row) for row in encoded)
    assert field.output.longest == longest
    assert field.output.length == {"t5": 257, "bart": 25}[kind]
    assert TargetTextField.from_json(field.to_json(), field.assets()) == field
