"""What else loads a checkpoint, by its kind; knows sentences only."""

from __future__ import annotations

_CLASSIFIER = (
    "It is a plain transformers sequence-classification model with one label: `AutoModelForSequenceClassification`, "
    "sentence-transformers' `CrossEncoder` and FlagEmbedding's `FlagReranker` load it as well."
)
LOADS_WITH = {
    "head": _CLASSIFIER,
    "new_head": _CLASSIFIER,
    "pooled": "It is an encoder with a pooling and a linear head: sentence-transformers' `CrossEncoder` loads it as "
    "well (not where the pooling is `weighted`), and `AutoModel` the encoder alone.",
    "comparing": "It is an encoder with a head that compares tokens, whose code is beside it in `modeling_maxsim.py`. "
    "With `trust_remote_code=True`, `AutoModelForSequenceClassification`, sentence-transformers' `CrossEncoder` and "
    "FlagEmbedding's `FlagReranker` load it as well; without, they would draw a new head. (`--pooling plain` trains a "
    "head that needs no code.)",
    "answers": "It is a plain transformers language model: `AutoModelForCausalLM` loads it as well, and its score is "
    "the logit of an answer. The prompt and the answers are in `config.json` under `sharprank`.",
    "comparing without code": "It is an encoder of foreign code with a head that compares tokens: sharprank loads it, "
    "with `--trust_remote_code`.",
    "adapter": "It is a LoRA adapter: peft loads it onto its base model, which `adapter_config.json` names.",
    "adapter with a head": "It is a LoRA adapter with a head that its base model lacks: sharprank loads both onto the "
    "base model, which `adapter_config.json` names. (`--save_merged_lora_model True` leaves a whole model.)",
}
"""What else loads a checkpoint of each kind, for its card."""
