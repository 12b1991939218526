"""Random models of transformers, each with a tokenizer of the words of the samples beside it."""

from pathlib import Path
from typing import Any

import torch


def write_model(folder: Path, kind: str, still: str = "") -> None:
    """Write config.json, model.safetensors and tokenizer.json of a model with two layers.

    Args:
        folder: to write to.
        kind: a BERT (`bert`), the same with its output layers (`mlm`), a GPT-2 (`gpt2`), a T5 (`t5`) or BART (`bart`).
        still: not empty for a model without dropout.

    """
    write, tokenizer = {
        "bert": (_bert, _bert_tokenizer()),
        "mlm": (_bert, _bert_tokenizer()),
        "gpt2": (_gpt2, _gpt2_tokenizer()),
        "t5": (_t5, _t5_tokenizer()),
        "bart": (_bart, _bart_tokenizer()),
    }[kind]
    torch.manual_seed(0)
    write(tokenizer, 0.0 if still else 0.1, kind).save_pretrained(folder)
    tokenizer.enable_truncation(5)  # as of another use; it has no effect
    tokenizer.save(str(folder / "tokenizer.json"))


def _bert(tokenizer: Any, dropout: float, kind: str) -> Any:
    import transformers  # seconds to import, for the tests of pretrained models alone

    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    own = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout, "max_position_embeddings": 12}
    config = transformers.BertConfig(vocab_size=tokenizer.get_vocab_size(), **sizes, **own)
    return transformers.BertForMaskedLM(config) if kind == "mlm" else transformers.BertModel(config)


def _gpt2(tokenizer: Any, dropout: float, kind: str) -> Any:
    import transformers

    end = tokenizer.token_to_id("<|endoftext|>")
    sizes = {"n_positions": 96, "n_embd": 16, "n_layer": 2, "n_head": 2, "bos_token_id": end, "eos_token_id": end}
    own = {"resid_pdrop": dropout, "embd_pdrop": dropout, "attn_pdrop": dropout}
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(vocab_size=tokenizer.get_vocab_size(), **sizes, **own))


def _t5(tokenizer: Any, dropout: float, kind: str) -> Any:
    import transformers

    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2, "n_positions": 512}
    config = transformers.T5Config(
        vocab_size=tokenizer.get_vocab_size(), decoder_start_token_id=0, dropout_rate=dropout, **sizes
    )
    return transformers.T5ForConditionalGeneration(config)


def _bart(tokenizer: Any, dropout: float, kind: str) -> Any:
    import transformers

    sizes = {"d_model": 16, "max_position_embeddings": 24}
    for side in ("encoder", "decoder"):
        sizes |= {f"{side}_layers": 2, f"{side}_attention_heads": 2, f"{side}_ffn_dim": 32}
    config = transformers.BartConfig(vocab_size=tokenizer.get_vocab_size(), dropout=dropout, **sizes)
    return transformers.BartForConditionalGeneration(config)


WRITTEN = ["the film plot cast was and a good bad thing simple costly", "the cat sat on the mat and the hat\n"]


def _bert_tokenizer() -> Any:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    made.train_from_iterator(WRITTEN, trainers.WordPieceTrainer(special_tokens=special, show_progress=False))
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return made


def _gpt2_tokenizer() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.post_processor = processors.ByteLevel(trim_offsets=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<|endoftext|>"], initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator(WRITTEN, trainer)
    return made


def _t5_tokenizer() -> Any:
    """Cut texts into words of `_write_pairs` and letters, as SentencePiece."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

    words = ["the", "red", "dog", "sees", "no", "cat", "der", "rote", "Hund", "sieht", "kein", "Kater"]
    parts = ["\u2581", *(f"\u2581{word}" for word in words), *"abcdefghijklmnopqrstuvwxyzHK.,:"]
    special = ["<pad>", "</s>", "<unk>"]
    made = Tokenizer(models.Unigram([*((name, 0.0) for name in special), *((part, -2.0) for part in parts)], 2))
    made.add_special_tokens(special)
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.decoder = decoders.Metaspace()
    made.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return made


def _bart_tokenizer() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(["the red dog sees no cat", "der rote Hund sieht kein Kater"], trainer)
    ends = [("<s>", 0), ("</s>", 2)]
    made.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=ends)
    return made
