"""Pretrained models with a new head: what they compute, what of them is trained, and what they lack."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pandas as pd
import pytest
import torch

from stoker.architectures.network import build_network, misfits, unavailable, with_default_sizes
from stoker.architectures.pretrained.network import PretrainedNetwork as Network
from stoker.datasets.fields.texts.word_pieces import WordPiecesField
from stoker.datasets.model_files import read_tokenizer
from stoker.datasets.tokens.pretrained import PretrainedTokenizer
from stoker.datasets.tokens.tokenizer import END, SPECIAL, UNKNOWN
from stoker.errors import JobError, Problem
from stoker.job.architecture.pretrained import Lora, Pretrained
from stoker.job.dataset import Dataset, Text
from stoker.job.signature import (
    ClassOutput,
    ContinuationOutput,
    NumbersInput,
    PiecesInput,
    Signature,
    TextInput,
    WordTagsOutput,
)
from stoker.tasks.abilities import can_attend

DATA = Dataset(source="reviews.csv")
VARIANTS: dict[str, dict[str, Any]] = {
    "whole": {},
    "pooler": {"pooling": "pooler"},
    "lora": {"lora": {"rank": 2}},
    "frozen": {"frozen": 1},
    "head": {"frozen": "all"},
}


@pytest.fixture(scope="module")
def signature(tiny_model):
    tokenizer = PretrainedTokenizer.from_asset(read_tokenizer(str(tiny_model("bert")), ""))
    return Signature({"text": TextInput(tokenizer.size, 12)}, ClassOutput(("a", "b", "c")))


@pytest.fixture
def made(tiny_model, signature):
    """Build a network of a tiny model, with the seed's weights."""

    def make(kind: str = "bert", **settings: Any) -> Network:
        architecture = with_default_sizes(settings_of(tiny_model(kind), **settings), signature, 100)
        torch.manual_seed(0)
        network = build_network(architecture, signature)
        assert isinstance(network, Network)
        return network

    return make


def settings_of(model: object, **settings: Any) -> Pretrained:
    return Pretrained.model_validate({"family": "pretrained", "model": str(model), **settings})


def padded(texts: list[list[int]], width: int) -> torch.Tensor:
    return torch.tensor([text + [0] * (width - len(text)) for text in texts])


def problems_of(error: pytest.ExceptionInfo[JobError]) -> list[tuple[str, str]]:
    return [(problem.path, problem.message) for problem in error.value.problems]


every_variant = pytest.mark.parametrize("settings", VARIANTS.values(), ids=VARIANTS)
every_kind = pytest.mark.parametrize("kind", ["bert", "gpt2"])


@every_kind
def test_features_are_those_of_transformers_on_its_own_tokens(kind, tiny_model, made):
    import transformers

    text = "A good plot, was the film?"
    folder = tiny_model(kind)
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
    theirs = tokenizer(text, return_tensors="pt", truncation=False)
    body = transformers.AutoModel.from_pretrained(folder).eval()
    with torch.no_grad():
        states = body(input_ids=theirs["input_ids"], attention_mask=theirs["attention_mask"]).last_hidden_state
    network = made(kind).eval()
    own = PretrainedTokenizer.from_asset(read_tokenizer(str(folder), ""))
    before, behind = own.around
    numbers = torch.tensor([[*before, *own.encode([text])[0].tolist(), *behind]])
    assert (numbers - SPECIAL).tolist() == theirs["input_ids"].tolist()
    torch.testing.assert_close(network({"text": numbers}), network.output(states.mean(dim=1)), atol=1e-6, rtol=1e-5)


@every_kind
@pytest.mark.parametrize("lora", ["none", {"rank": 2}], ids=["whole", "lora"])
def test_a_texts_output_depends_neither_on_padding_nor_on_its_neighbours(kind, lora, made):
    network = made(kind, lora=lora).eval()
    texts = [[5, 13, 7, 12], [14], [19, 9, UNKNOWN, 28, 29, 22, 23], [6, 5]]
    alone = torch.cat([network({"text": torch.tensor([text])}) for text in texts])
    for width in (7, 12):
        torch.testing.assert_close(network({"text": padded(texts, width)}), alone, atol=1e-6, rtol=1e-5)
    assert alone.std(dim=0).min() > 0


@every_kind
@pytest.mark.parametrize("lora", ["none", {"rank": 2}], ids=["whole", "lora"])
def test_rows_of_its_attention_sum_to_one_without_padding(kind, lora, made):
    network = made(kind, lora=lora).eval()
    assert can_attend(network)
    texts = [[4, 5, 6, 7, 8], [9], [10, 11]]
    inputs = {"text": padded(texts, 7)}
    before = network(inputs)
    weights = network.attend(inputs)
    assert weights.shape == (3, 2, 7, 7)
    torch.testing.assert_close(weights.sum(dim=3), torch.ones(3, 2, 7))
    for row, text in enumerate(texts):
        assert not weights[row, :, : len(text), len(text) :].any()
    assert torch.equal(network(inputs), before)  # by the fast kernel again


@every_variant
def test_a_batch_without_texts_has_gradients_of_zero(settings, made):
    network = made(**settings)
    output = network({"text": torch.zeros(0, 3, dtype=torch.int64)})
    assert output.shape == (0, 3)
    output.sum().backward()
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    assert all(p.grad is not None and not p.grad.any() for p in trained)


@every_variant
def test_every_trained_weight_gets_a_gradient(settings, made):
    network = made(**settings)
    for name, parameter in network.named_parameters():
        if "lora_B" in name:  # begins at zero, where the gradient of the other half is zero
            torch.nn.init.normal_(parameter)
    network({"text": padded([[5, 13, 7, 12], [14]], 4)}).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name
        if parameter.requires_grad and "key.bias" not in name:  # attention does not depend on it
            assert parameter.grad is not None
            assert parameter.grad.abs().sum() > 0, name


def test_a_text_of_only_padding_has_a_finite_output(made):
    assert torch.isfinite(made().eval()({"text": torch.zeros(2, 3, dtype=torch.int64)})).all()


def test_what_is_trained_and_what_is_not_saved_complete_each_other(made):
    trained = {}
    for name, settings in VARIANTS.items():
        network = made(**settings)
        names = {each for each, parameter in network.named_parameters() if parameter.requires_grad}
        assert names | network.unchanged_weights() == set(network.state_dict())
        assert not names & network.unchanged_weights()
        assert bool(network.origin_digest()) == bool(network.unchanged_weights())
        trained[name] = names
    head = {"output.weight", "output.bias"}
    assert trained["head"] == head
    assert {name.rsplit(".", 3)[1] for name in trained["lora"] - head} == {"lora_A", "lora_B"}
    assert {name.split(".")[3] for name in trained["frozen"] - head} == {"1"}
    assert any("embeddings" in name for name in trained["whole"])
    assert not any("pooler" in name for name in trained["whole"])
    assert any("pooler" in name for name in trained["pooler"])


@every_variant
def test_the_same_seed_gives_the_same_weights(settings, made):
    one, other = made(**settings).state_dict(), made(**settings).state_dict()
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_adapters_change_nothing_before_they_are_trained(made):
    numbers = {"text": torch.tensor([[5, 13, 7, 12]])}
    plain, adapted = made().eval(), made(lora={"rank": 2}).eval()
    adapted.output.load_state_dict(plain.output.state_dict())
    torch.testing.assert_close(adapted(numbers), plain(numbers))


def test_weights_are_not_read_to_build_on_the_meta_device(tiny_model, signature, tmp_path):
    for file in ("config.json", "tokenizer.json"):
        shutil.copy(tiny_model("bert") / file, tmp_path)
    settings = settings_of(tmp_path, lora={"rank": 2, "targets": ["query"]})
    with torch.device("meta"):
        network = build_network(settings, signature)
    assert all(parameter.is_meta for parameter in network.parameters())
    output = network({"text": torch.ones(1, 12, dtype=torch.int64, device="meta")})
    assert output.shape == (1, 3)
    with pytest.raises(JobError, match=r"has no model\.safetensors"):
        build_network(settings, signature)


ALL_LINEAR = {"bert": {"query", "key", "value", "dense"}, "gpt2": {"c_attn", "c_fc", "c_proj"}}


@every_kind
def test_all_linear_layers_of_the_body_get_adapters_unless_some_are_named(kind, made):
    def adapted(**lora: Any) -> set[str]:
        names = [name for name, _ in made(kind, lora=lora).named_parameters() if "lora_A" in name]
        assert len(names) % 2 == 0  # layers
        return {name.split(".")[-4] for name in names}

    assert adapted() == ALL_LINEAR[kind]
    one = sorted(ALL_LINEAR[kind])[0]
    assert adapted(targets=[one]) == {one}


def test_the_output_layer_of_a_model_that_writes_gets_no_adapter(writer):
    names = [name for name, _ in writer(lora=Lora(rank=2)).named_parameters() if "lora_A" in name]
    assert {name.split(".")[-4] for name in names} == ALL_LINEAR["gpt2"]


@pytest.mark.parametrize(
    ("kind", "settings", "path", "message"),
    [
        (
            "bert",
            {"lora": {"targets": ["query", "q_proj"]}},
            "architecture.lora.targets",
            "this model (bert) has no linear layer 'q_proj'; it has dense, key, query, value",
        ),
        (
            "gpt2",
            {"lora": {"targets": ["query", "value"]}},
            "architecture.lora.targets",
            "this model (gpt2) has no linear layer 'query', 'value'; it has c_attn, c_fc, c_proj",
        ),
        (
            "bert",
            {"frozen": 3},
            "architecture.frozen",
            "the model has 2 layers, fewer than 3; use at most 2, or all",
        ),
        ("gpt2", {"pooling": "pooler"}, "architecture.pooling", "(gpt2) has no pooling layer; use mean"),
    ],
)
def test_settings_that_do_not_fit_the_model_are_named_with_the_cure(
    kind, settings, path, message, tiny_model, signature
):
    (problem,) = misfits(settings_of(tiny_model(kind), **settings), signature)
    assert problem.path == path
    assert message in problem.message


def test_one_text_is_taken_by_a_model_that_knows_all_its_tokens(tiny_model, signature):
    settings = settings_of(tiny_model("bert"))
    mixed = Signature({**signature.inputs, "numbers": NumbersInput(2)}, signature.output)
    assert [problem.path for problem in misfits(settings, mixed)] == ["architecture.family"]
    larger = Signature({"text": TextInput(5000, 12)}, signature.output)
    (problem,) = misfits(settings, larger)
    assert (problem.path, "the tokenizer has 4,996 tokens, the model" in problem.message) == (
        "dataset.text.tokenizer",
        True,
    )


def test_a_model_that_translates_is_refused(signature, tmp_path):
    import transformers

    transformers.T5Config(d_model=8, num_layers=1).save_pretrained(tmp_path)
    (problem,) = misfits(settings_of(tmp_path), signature)
    assert (
        problem.message
        == f"'{tmp_path}' (t5) reads one text and writes another; use an encoder such as BERT, or a decoder"
    )


@pytest.mark.parametrize(
    ("file", "cure"),
    [
        ("config.json", "has no config.json; name a folder that a model was written to by save_pretrained(FOLDER)"),
        ("tokenizer.json", "has no tokenizer.json; write it by AutoTokenizer.from_pretrained(...)"),
        ("model.safetensors", "has no model.safetensors; pickles such as pytorch_model.bin are not read"),
    ],
)
def test_a_folder_without_one_of_its_files_is_refused_with_the_cure(file, cure, tiny_model, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(tiny_model("bert"), folder)
    assert unavailable(settings_of(folder), DATA) == []
    (folder / file).unlink()
    (problem,) = unavailable(settings_of(folder), DATA)
    assert problem.path == "architecture.model"
    assert problem.message.startswith(f"'{folder}' {cure}")


def test_a_model_of_unknown_type_is_refused(tiny_model, signature, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "nobody-knows"}))
    with pytest.raises(JobError) as error:
        misfits(settings_of(tmp_path), signature)
    ((path, message),) = problems_of(error)
    assert path == "architecture.model"
    assert "nobody-knows" in message
    assert message.endswith("use a model of its own types")


@pytest.fixture
def hub_cache(tmp_path, monkeypatch) -> Path:
    """An empty cache of the Hub, which cannot be reached."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def test_an_unknown_name_without_network_is_named_with_the_cure(hub_cache):
    with pytest.raises(JobError) as error:
        unavailable(settings_of("nobody/nothing"), DATA)
    message = (
        "there is no folder 'nobody/nothing', it is not in the Hub's cache (HF_HOME), and the Hub is out of reach; "
        "name a folder with its files, or allow the network (HF_HUB_OFFLINE, HF_ENDPOINT)"
    )
    assert problems_of(error) == [("architecture.model", message)]
    with pytest.raises(JobError, match=r"there is no folder '\./nothing'; name one with config"):
        unavailable(settings_of("./nothing"), DATA)


def test_a_model_of_the_hubs_cache_is_pinned_to_its_commit(hub_cache, tiny_model, signature):
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = hub_cache / "models--somebody--tiny"
    shutil.copytree(tiny_model("bert"), repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    settings = settings_of("somebody/tiny")
    assert unavailable(settings, DATA) == []
    pinned = with_default_sizes(settings, signature, 100)
    assert pinned.model == f"somebody/tiny@{commit}"
    assert with_default_sizes(pinned, signature, 100) == pinned
    assert build_network(pinned, signature)({"text": torch.tensor([[5]])}).shape == (1, 3)


def test_a_missing_library_is_named_with_the_command(monkeypatch, tiny_model):
    monkeypatch.setitem(sys.modules, "peft", None)
    assert unavailable(settings_of(tiny_model("bert")), DATA) == [
        Problem("architecture.family", "pretrained needs peft, not installed here; pip install 'stoker[pretrained]'")
    ]


def test_other_families_do_not_import_the_libraries():
    program = (
        "import sys, stoker.training.attempt, stoker.inference.model, stoker.planning.run\n"
        "print([name for name in ('transformers', 'peft', 'accelerate', 'huggingface_hub') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def tagging(tiny_model, kind: str = "bert", **settings: Any) -> tuple[WordPiecesField, Network]:
    """Build a network that tags words, with its seed's weights, and the field that cuts them."""
    text = {"tokenizer": str(tiny_model(kind))}
    field = WordPiecesField.fit("words", pd.Series([], dtype=object), DATA.model_copy(update={"text": Text(**text)}))
    shapes = Signature({"words": field.shape([field])}, WordTagsOutput(("O", "B-X", "I-X"), ("X",)))
    architecture = with_default_sizes(settings_of(tiny_model(kind), **settings), shapes, 100)
    assert misfits(architecture, shapes) == []
    torch.manual_seed(0)
    network = build_network(architecture, shapes)
    assert isinstance(network, Network)
    return field, network


SENTENCES = [["A", "good", "xfilms", "was"], ["plot"], [], ["the", "bad", "thing"]]


def cut(field: WordPiecesField, *sentences: list[str]) -> torch.Tensor:
    encoded = field.encode(pd.Series([json.dumps(each) for each in sentences], dtype=object))
    return field.prepare(encoded.take(torch.arange(len(sentences))))


@every_kind
def test_the_tag_of_a_word_is_read_at_its_first_token(kind, tiny_model):
    import transformers

    field, network = tagging(tiny_model, kind)
    given = cut(field, SENTENCES[0])
    assert given.shape[1] > len(SENTENCES[0])
    body = transformers.AutoModel.from_pretrained(tiny_model(kind)).eval()
    with torch.no_grad():
        states = body(input_ids=given[..., 0] - SPECIAL).last_hidden_state[0]
    words = given[0, :, 1].tolist()
    expected = network.output(states[[words.index(word) for word in (1, 2, 3, 4)]])
    torch.testing.assert_close(network.eval()({"words": given})[0, :4], expected, atol=1e-6, rtol=1e-5)


@every_kind
@pytest.mark.parametrize("lora", ["none", {"rank": 2}], ids=["whole", "lora"])
def test_a_tag_depends_neither_on_padding_nor_on_other_sentences(kind, lora, tiny_model):
    field, network = tagging(tiny_model, kind, lora=lora)
    network.eval()
    given = cut(field, *SENTENCES)
    alone = [network({"words": cut(field, each)})[0, : len(each)] for each in SENTENCES]
    for more in (0, 3):
        together = network({"words": torch.nn.functional.pad(given, (0, 0, 0, more))})
        assert together.shape == (4, given.shape[1] + more, 3)
        for each, found in zip(alone, together, strict=True):
            torch.testing.assert_close(found[: len(each)], each, atol=1e-6, rtol=1e-5)


@every_variant
def test_a_batch_without_sentences_has_gradients_of_zero(settings, tiny_model):
    if settings.get("pooling"):
        return  # refused, below
    _, network = tagging(tiny_model, **settings)
    output = network({"words": torch.zeros(0, 3, 2, dtype=torch.int64)})
    assert output.shape == (0, 3, 3)
    output.sum().backward()
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    assert all(p.grad is not None and not p.grad.any() for p in trained)


def test_a_pooling_layer_is_refused_where_words_are_tagged(tiny_model):
    shapes = Signature({"words": PiecesInput(30, 12)}, WordTagsOutput(("A", "B"), ()))
    (problem,) = misfits(settings_of(tiny_model("bert"), pooling="pooler"), shapes)
    assert problem.path == "architecture.pooling"
    assert problem.message.endswith("this task says something of each word of it; leave it out")


@pytest.fixture(scope="module")
def writer(tiny_model):
    """Build a network that continues texts, of up to so many tokens."""
    settings = settings_of(tiny_model("gpt2"))
    size = PretrainedTokenizer.from_asset(read_tokenizer(settings.model, "")).size

    def make(length: int = 12, borders: bool = True, **more: Any) -> Any:
        shapes = Signature({"text": TextInput(size, length)}, ContinuationOutput(size, borders))
        architecture = with_default_sizes(settings.model_copy(update=more), shapes, 100)
        assert misfits(architecture, shapes) == []
        return build_network(architecture, shapes).eval()

    return make


def test_what_follows_is_what_transformers_expects(tiny_model, writer):
    import transformers

    body = transformers.AutoModelForCausalLM.from_pretrained(tiny_model("gpt2")).eval()
    tokens = torch.tensor([[END, 50, 60, 70, 80]])
    own = tokens - SPECIAL
    own[0, 0] = end = body.config.eos_token_id
    with torch.no_grad():
        theirs = body(input_ids=own).logits.softmax(dim=2)
    for borders in (True, False):
        found = writer(borders=borders)({"text": tokens}).softmax(dim=2)
        expected = theirs.clone()
        expected[..., end] = 0.0
        torch.testing.assert_close(found[..., SPECIAL:], expected)
        torch.testing.assert_close(found[..., END], theirs[..., end])
        assert not found[..., [0, UNKNOWN, 3]].any()


def test_a_text_does_not_see_the_one_before_it(writer):
    network = writer()
    texts = [[END, 50, 60, 70], [END, 80, 90]]
    together = network({"text": torch.tensor([[*texts[0], *texts[1], END]])})
    alone = [network({"text": torch.tensor([text])})[0] for text in texts]
    torch.testing.assert_close(together[0, :7], torch.cat(alone), atol=1e-5, rtol=1e-4)


def test_reading_token_by_token_expects_the_same_as_reading_at_once(writer):
    network = writer(length=8)
    tokens = torch.tensor([[END, 50, 60, 70, 80, 90], [END, 51, 61, 71, 81, 91]])
    expected = network({"text": tokens})
    memory, found = network.begin(2), []
    for begin, end in ((0, 3), (3, 4), (4, 6)):
        logits, memory = network.read(tokens[:, begin:end], memory)
        found.append(logits)
    torch.testing.assert_close(torch.cat(found, dim=1), expected, atol=1e-5, rtol=1e-4)
    for token in (100, 101, 102):  # the third one does not fit: the last 4 are read anew
        logits, memory = network.read(torch.full((2, 1), token), memory)
    again = network({"text": torch.cat([tokens[:, -1:], torch.tensor([[100, 101, 102]] * 2)], dim=1)})
    torch.testing.assert_close(logits[:, -1], writer(length=8, borders=False)({"text": memory.tokens})[:, -1])
    torch.testing.assert_close(logits[:, -1], again[:, -1], atol=1e-5, rtol=1e-4)


def test_a_head_is_refused_where_a_model_has_its_own_output_layer(tiny_model):
    shapes = Signature({"text": TextInput(30, 12)}, ContinuationOutput(30, borders=True))
    settings = settings_of(tiny_model("gpt2"), frozen="all", pooling="pooler", dropout=0.3)
    paths = [problem.path for problem in misfits(settings, shapes)]
    assert paths == ["architecture.frozen", "architecture.pooling", "architecture.dropout"]
