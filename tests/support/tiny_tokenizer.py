"""A word-level tokenizer in Hugging Face's files, with the special tokens of SigLIP, SigLIP 2, CLIPA or MetaCLIP 2."""

from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

WORDS = ("a", "cat", "dog", "runs", "left", "right")
KINDS = {
    "siglip": {"special": ("<unk>", "</s>"), "template": "$A </s>", "pad": "</s>", "eos": "</s>"},
    "siglip2": {"special": ("<pad>", "<eos>", "<unk>"), "template": "$A <eos>", "pad": "<pad>", "eos": "<eos>"},
    "metaclip2": {
        "special": ("<s>", "<pad>", "</s>", "<unk>"),
        "template": "<s> $A </s>",
        "pad": "<pad>",
        "eos": "</s>",
    },
    "clipa": {"special": ("[PAD]", "[UNK]", "[CLS]", "[SEP]"), "template": "[CLS] $A [SEP]", "pad": "[PAD]", "eos": ""},
}


def write_tokenizer(folder: Path, kind: str) -> Path:
    """The files of a tokenizer of a kind."""
    layout = KINDS[kind]
    special = layout["special"]
    unknown = next(each for each in special if "unk" in each.lower())
    vocabulary = {word: number for number, word in enumerate((*special, *WORDS))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=unknown))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    used = [(each, vocabulary[each]) for each in layout["template"].split() if each != "$A"]
    tokenizer.post_processor = processors.TemplateProcessing(single=layout["template"], special_tokens=used)
    options = {"eos_token": layout["eos"]} if layout["eos"] else {"sep_token": "[SEP]", "cls_token": "[CLS]"}
    files = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=layout["pad"], unk_token=unknown, padding_side="right", **options
    )
    files.save_pretrained(folder)
    return folder
