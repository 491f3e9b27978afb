"""Whether a token costs more where there are more pairs: scoring and training at two sizes.

What depends on the number of pairs runs in full at both: reading the rows, tokenising every text (no two passages are
equal, so that nothing is saved), keeping the ids on disk (training), drawing and shuffling groups (training), planning
batches, making the model's inputs, putting scores in their places (scoring). The model itself, forward or forward and
backward, runs on every n-th batch from the first to the last, about as many tokens at both sizes; so a token costs

    processor time outside the model / tokens  +  processor time in the model / tokens that the model saw.

The optimizer's step is left out: a step costs the same whatever the number of pairs.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers.modeling_outputs import SequenceClassifierOutput

from benchmarks.speed.material import GROUP_SIZE, MAX_LENGTH, save_start_model
from sharprank.formats.groups import GroupForm, read_groups
from sharprank.formats.python_docs import read_doc_pairs
from sharprank.formats.sources import Source
from sharprank.formats.writers import write_jsonl
from sharprank.models.batches import model_inputs
from sharprank.models.devices import CPU_TOKEN_BUDGET
from sharprank.records import Group

QUERY_WORDS = (4, 12)
SEEN_PAIRS = 150
"""About as many pairs does the model run on, at every size."""


@dataclass
class Cost:
    """What a run over many pairs took.

    Attributes:
        tokens: of all pairs.
        seen: of the pairs that the model ran on.
        outside: processor seconds of everything but the model.
        inside: processor seconds of the model.
    """

    tokens: int = 0
    seen: int = 0
    outside: float = 0.0
    inside: float = 0.0

    @property
    def microseconds_a_token(self) -> tuple[float, float]:
        """(outside the model, in the model)."""
        return 1e6 * self.outside / self.tokens, 1e6 * self.inside / self.seen


Run = Callable[[Path, int, Path], Cost]
"""(rows, run the model on every n-th batch, an empty folder) -> cost."""


def write_pairs(path: Path, num_pairs: int, *, seed: int = 0) -> None:
    """Rows of GROUP_SIZE passages: stretches of Python's documentation as long as its own passages, all different."""
    rng = random.Random(seed)
    passages = [pair.passage.split() for pair in read_doc_pairs()]
    words = [word for passage in passages for word in passage]

    def stretch(length: int) -> str:
        start = rng.randrange(len(words) - length)
        return " ".join(words[start : start + length])

    def rows() -> Iterable[dict[str, Any]]:
        for _ in range(num_pairs // GROUP_SIZE):
            texts = [stretch(len(rng.choice(passages))) for _ in range(GROUP_SIZE)]
            yield {"query": stretch(rng.randint(*QUERY_WORDS)), "pos": texts[:1], "neg": texts[1:]}

    write_jsonl(path, rows())


def scoring_cost(model_path: Path, dtype: torch.dtype) -> Run:
    """`PairScorer.score` over the rows of a file."""
    from sharprank.models.scoring import PairScorer

    scorer = PairScorer.load(str(model_path), max_length=MAX_LENGTH, dtype=dtype, device="cpu")
    forward = scorer.model.forward

    def run(rows: Path, every: int, folder: Path) -> Cost:
        cost, calls = Cost(), 0

        def sampled(**inputs: Any) -> Any:
            nonlocal calls
            num_tokens = inputs["input_ids"].numel()
            cost.tokens += num_tokens
            calls += 1
            if (calls - 1) % every:
                return SequenceClassifierOutput(logits=torch.zeros(len(inputs["packing"].lengths), 1))
            start = time.process_time()
            output = forward(**inputs)
            cost.inside += time.process_time() - start
            cost.seen += num_tokens
            return output

        scorer.model.forward = sampled
        start = time.process_time()
        scorer.score([(group.query, passage) for group in _groups(rows) for passage in group.passages])
        cost.outside = time.process_time() - start - cost.inside
        return cost

    return run


def training_cost(model_path: Path, *, bf16: bool) -> Run:
    """An epoch over the rows of a file, as `sharprank train` goes through it."""
    from sharprank.losses.groups import RELEVANCE
    from sharprank.losses.listwise import listwise_ce
    from sharprank.models.cross_encoder import load_cross_encoder
    from sharprank.models.dropout import use_byte_dropout
    from sharprank.models.pair_text import PairTokenizer
    from sharprank.models.token_store import TokenStore
    from sharprank.training.groups import GroupDataset, GroupSampler, group_loader

    model, tokenizer = load_cross_encoder(str(model_path), for_training=True)
    use_byte_dropout(model)
    model.train()

    def learn(inputs: dict[str, Any], part: Any) -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            scores = model(**inputs).logits[:, 0].float()
        listwise_ce(scores, part.group_lengths, torch.from_numpy(part.targets[RELEVANCE])).backward()
        model.zero_grad(set_to_none=True)

    def run(rows: Path, every: int, folder: Path) -> Cost:
        cost, calls, start = Cost(), 0, time.process_time()
        pairs, store = PairTokenizer(tokenizer, max_length=MAX_LENGTH), TokenStore(folder, tokenizer)
        dataset = GroupDataset(_groups(rows), pairs, group_size=GROUP_SIZE, seed=0, progress=False, store=store)
        sampler = GroupSampler(dataset, groups_per_rank=8, rank=0, world_size=1, seed=0, drop_last=False)
        for batch in group_loader(dataset, sampler, num_workers=0):
            for part in batch.micro_batches(CPU_TOKEN_BUDGET):
                inputs = model_inputs(part.tokens, model.config, device=torch.device("cpu"), token_types=True)
                cost.tokens += part.tokens.num_tokens
                if calls % every == 0:
                    began = time.process_time()
                    learn(inputs, part)
                    cost.inside += time.process_time() - began
                    cost.seen += part.tokens.num_tokens
                calls += 1
        cost.outside = time.process_time() - start - cost.inside
        return cost

    return run


def measure(sizes: tuple[int, int], folder: Path, *, dtype: torch.dtype, say: Callable[[str], None]) -> dict[str, Any]:
    """{"rows": lines of the table, "costs": microseconds a token outside and in the model, by work and size}."""
    model_path = save_start_model(folder / "start")
    few, many = (f"{num_pairs:,} pairs" for num_pairs in sizes)
    for num_pairs in sizes:
        write_pairs(folder / f"{num_pairs}.jsonl", num_pairs)
    result: dict[str, Any] = {"rows": [], "costs": {}}
    for work, run in (
        ("scoring", scoring_cost(model_path, dtype)),
        ("training", training_cost(model_path, bf16=dtype == torch.bfloat16)),
    ):
        costs = {few: [], many: []}
        run(folder / f"{sizes[0]}.jsonl", 100, folder / f"{work}-warm-up")
        for number, num_pairs in enumerate((*sizes, sizes[0])):
            cost = run(folder / f"{num_pairs}.jsonl", max(1, num_pairs // SEEN_PAIRS), folder / f"{work}-{number}")
            say(f"  {work}, {num_pairs:,} pairs: {cost}")
            costs[f"{num_pairs:,} pairs"].append(cost.microseconds_a_token)
        means = {name: [sum(part) / len(part) for part in zip(*found, strict=True)] for name, found in costs.items()}
        ratio = sum(means[many]) / sum(means[few])
        row = {"work": f"cost of a token, {work}", "against": f"{many} over {few}", "ratio": ratio, "limit": 1.15}
        result["rows"].append(row)
        result["costs"][work] = {
            name: dict(zip(("outside", "model"), mean, strict=True)) for name, mean in means.items()
        }
    return result


def _groups(path: Path) -> list[Group]:
    return list(read_groups(Source(str(path)), form=GroupForm()).groups)
