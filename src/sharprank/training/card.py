"""The README.md of a checkpoint: what it is, how it was made, how to use it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sharprank.training.choices import Choices, spoken

_USE = """
## Use

```python
from sharprank import Reranker

reranker = Reranker.from_pretrained("{path}")
reranker.compute_score([("a query", "a passage")])  # raw scores, higher is better
reranker.rank("a query", ["a passage", "another passage"])
```

{loads_with} A pair longer than {max_length} tokens is shortened by cutting the passage.
"""


@dataclass(frozen=True)
class Made:
    """How a model was made.

    Attributes:
        settings: those that decide the result of the run.
        chosen: those among them that no flag gave.
        loads_with: what else loads the model, in a sentence.
        ending: the comparison with the first stage, if there was one.
    """

    settings: Mapping[str, Any]
    chosen: Choices
    loads_with: str
    ending: str = ""


def write_card(folder: Path, made: Made, *, measures: Mapping[str, float], versions: Mapping[str, str]) -> None:
    """Write `README.md` into a checkpoint folder.

    Args:
        measures: final measures on the evaluation groups; may be empty.
    """
    settings = made.settings
    base = settings["model_name_or_path"]
    lines = [
        "---",
        "library_name: transformers",
        "pipeline_tag: text-ranking",
        f"base_model: {json.dumps(base)}",
        "tags: [reranker, cross-encoder, sharprank]",
        "---",
        "",
        f"# Reranker trained from {base}",
        "",
        f"{settings['num_rows']} queries, groups of {settings['train_group_size']}, loss `{settings['loss']}`, "
        f"learning rate {settings['learning_rate']}, {_length(settings)}, seed {settings['seed']}.",
    ]
    if made.chosen:
        lines += ["", f"Chosen by itself: `{spoken(made.chosen)}`."]
    if measures:
        lines += ["", "| measure on the evaluation groups | |", "|---|---|"]
        lines += [f"| {name} | {value:.4f} |" for name, value in measures.items()]
    if made.ending:
        lines += ["", "```", made.ending, "```"]
    lines += [_USE.format(path=folder.name, max_length=settings["max_len"], loads_with=made.loads_with)]
    lines += ["## How it was made", "", "```json", json.dumps(dict(settings), indent=1, ensure_ascii=False), "```", ""]
    lines += ["Versions: " + ", ".join(f"{name} {version}" for name, version in versions.items()) + ".", ""]
    (folder / "README.md").write_text("\n".join(lines), encoding="utf-8")


def _length(settings: Mapping[str, Any]) -> str:
    """How long it was trained; steps count in place of epochs."""
    if settings["max_steps"] > 0:
        return f"{settings['max_steps']} steps"
    return f"{settings['num_train_epochs']:g} epochs"
