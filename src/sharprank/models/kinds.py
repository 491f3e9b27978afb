"""What a reranker is made of and how it is asked: from its configuration, its stored recipe and what the user asks for.

Decided by the architecture, never by a name. Knows no weights and no paths.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from sharprank.errors import UserError
from sharprank.models.encoder_config import EncoderConfig
from sharprank.models.maxsim import JOINT, LATE
from sharprank.models.packing import is_decoder, usable_positions
from sharprank.models.pair_text import pair_layout
from sharprank.models.prompts import answer_ids, choose_prompt, read_prompt, with_instruction
from sharprank.models.recipe import Recipe
from sharprank.models.scored import COMPARING, HEADS
from sharprank.progress import say

PLAIN = "plain"
"""What `--pooling` calls the family's own classification head."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the user asks of a model's use; None leaves a choice to the checkpoint.

    Attributes:
        pooling: a head of ours in place of the family's own, or "plain" for the family's.
        prompt: name or JSON file of a prompt.
        instruction: in place of the prompt's own.
    """

    pooling: str | None = None
    prompt: str | None = None
    instruction: str | None = None

    def check(self) -> None:
        """Refuse what cannot work."""
        if self.pooling is not None and self.pooling not in (*HEADS, PLAIN):
            raise UserError(f"--pooling {self.pooling!r} is unknown", fix=f"use one of: {', '.join((*HEADS, PLAIN))}")


def kind_of(config: Any, recipe: Recipe, asked: Asked, tokenizer: Any) -> tuple[str, bool]:
    """What the model is made of, and whether its head was trained; decided by its architecture, never by its name."""
    names = config.architectures or []
    if asked.pooling in HEADS:
        return "pooled", recipe.pooling == asked.pooling
    if recipe.pooling is not None and asked.pooling is None:
        return "pooled", True
    if any("ForSequenceClassification" in name for name in names):
        return "head", True
    if any(name.endswith(("ForCausalLM", "LMHeadModel")) for name in names) and is_decoder(config):
        return "answers", True
    if (
        asked.pooling is None
        and asked.prompt is None
        and recipe.prompt is None
        and separator_of(tokenizer, config) is not None
    ):
        return "pooled", False
    return "new_head", False


def separator_of(tokenizer: Any, config: Any) -> int | None:
    """The token that ends the query in a pair, for heads that compare tokens; None where nothing marks it."""
    if tokenizer.sep_token_id is None or is_decoder(config) or config.is_encoder_decoder:
        return None
    layout, separator = pair_layout(tokenizer), tokenizer.sep_token_id
    if layout is None or len(layout.before) != 1 or layout.after.tolist() != [separator]:
        return None
    return separator if set(layout.between.tolist()) == {separator} else None


def headed(pooling: str | None, tokenizer: Any, config: Any, *, embeds: EncoderConfig | None) -> Recipe:
    """The recipe of a new head of ours; what an encoder wants before a text is read before it by `late` as well.

    Args:
        embeds: what the encoder says of how it embeds texts; None: it does not say that it was trained to.
    """
    if pooling not in COMPARING:
        return Recipe(pooling=pooling)
    recipe = Recipe(pooling=pooling, separator=separator_of(tokenizer, config))
    if pooling != LATE or embeds is None:
        return replace(recipe, text_pooling="mean" if pooling == LATE else None)
    words = [embeds.text("", kind=kind).rstrip() for kind in ("query", "passage")]
    query, passage = (tuple(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in words)
    limit = usable_positions(config) if query or passage else None
    return replace(recipe, text_pooling=embeds.pooling, query_prefix=query, passage_prefix=passage, text_limit=limit)


def recipe_of(
    recipe: Recipe, asked: Asked, kind: str, tokenizer: Any, config: Any, *, name: str, embeds: EncoderConfig | None
) -> Recipe:
    """The stored recipe with what is asked for in its place, and a prompt where a language model has none.

    Args:
        embeds: see `headed`.
    """
    if kind == "pooled":
        pooling = asked.pooling or recipe.pooling or (JOINT if embeds is None else LATE)
    else:
        pooling = None if asked.pooling == PLAIN else recipe.pooling
    if pooling != recipe.pooling:
        new = headed(pooling, tokenizer, config, embeds=embeds)
        recipe = replace(new, prompt=recipe.prompt, max_length=recipe.max_length)
    if asked.prompt is not None:
        recipe = replace(recipe, prompt=read_prompt(asked.prompt))
    if kind == "answers" and recipe.prompt is None:
        chosen, prompt = choose_prompt(tokenizer)
        say(f"note: {name} is a language model without a stored prompt; it is asked by {chosen!r} (--prompt)")
        recipe = replace(recipe, prompt=prompt)
    if asked.instruction is not None and recipe.prompt is None:
        raise UserError("--instruction belongs to a prompt, and this model has none", fix="add --prompt")
    if recipe.prompt is not None:
        prompt = with_instruction(recipe.prompt, asked.instruction)
        if kind == "answers":
            answer_ids(prompt, tokenizer)
        recipe = replace(recipe, prompt=prompt)
    return recipe


def check_head(config: Any, recipe: Recipe, kind: str, *, name: str) -> None:
    if kind == "head" and config.num_labels != 1:
        raise UserError(
            f"model {name} classifies into {config.num_labels} labels; a reranker has one score",
            fix="name a reranker (one label), or the plain encoder to train a new head on",
        )
    if kind == "pooled" and recipe.pooling == "cls" and is_decoder(config):
        raise UserError(
            f"--pooling cls: the first token of {config.model_type} sees nothing but itself", fix="use last or mean"
        )
    if recipe.pooling in COMPARING and (recipe.prompt is not None or recipe.separator is None):
        raise UserError(
            f"--pooling {recipe.pooling}: {name} has no token that separates query and passage",
            fix="use mean, last or plain",
        )
    if kind == "answers" and (recipe.prompt is None or recipe.prompt.yes is None):
        raise UserError(f"the prompt of {name} has no answer 'yes'", fix="name one, or use --pooling last")
