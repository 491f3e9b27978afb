"""Draw documents at random: a list of ids that `synthesize` and `ablate` begin with (reference system 004's `sample`).

The order is that in which they would draw by themselves with the same seed.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any

from sharprank.errors import UserError, check_seed
from sharprank.formats.writers import check_apart, check_writable, is_made, json_document, open_together
from sharprank.progress import say
from sharprank.provenance import describe_inputs, manifest
from sharprank.synthesis.corpus import Document, corpus_place, eligible, read_corpus, turns


@dataclass(kw_only=True)
class SampleConfig:
    """The flags of `sharprank sample`."""

    corpus_path: str = field(
        metadata={
            "help": "documents {id, title?, text or contents}: a file, a folder, a dataset",
            "aliases": ["--corpus", "--corpus_file"],
        }
    )
    output_file: str = field(
        default="sampled_doc_ids.txt", metadata={"help": "the ids, one a line", "aliases": ["--output"]}
    )
    count: int = field(default=1000, metadata={"help": "documents to draw"})
    min_length: int = field(default=300, metadata={"help": "characters a document must have to be drawn"})
    seed: int = field(default=42, metadata={"help": "another seed, other documents"})
    show: int = field(default=5, metadata={"help": "documents printed, to look at", "aliases": ["--test_count"]})
    overwrite: bool = field(default=False, metadata={"help": "replace an output that other settings made"})

    def check(self) -> None:
        """Refuse what cannot work.

        Raises:
            UserError: naming the flag.
        """
        check_seed(self.seed)
        if self.count < 1:
            raise UserError(f"--count {self.count} draws nothing", fix="use --count 1 or more")
        for name in ("min_length", "show"):
            if getattr(self, name) < 0:
                raise UserError(f"--{name} {getattr(self, name)} is below 0", fix=f"use --{name} 0 or more")

    def settings(self) -> dict[str, Any]:
        """All that decides which documents are drawn."""
        return {name: getattr(self, name) for name in asdict(self) if name not in ("output_file", "show", "overwrite")}


def sample(config: SampleConfig) -> list[Document]:
    """Draw the documents and write their ids, unless that is done; returns them in their order.

    Raises:
        UserError: a corpus that cannot be read, no document long enough, an output that cannot be written.
    """
    config.check()
    place = corpus_place(config.corpus_path)
    check_apart({"output_file": config.output_file}, [("--corpus_path", place)])
    check_writable(config.output_file)
    inputs = describe_inputs([place])
    settings = {**config.settings(), "corpus_path": config.corpus_path, "inputs": list(inputs.values())}
    corpus = read_corpus(config.corpus_path)
    long_enough = eligible(corpus, config.min_length)
    num_drawn = min(config.count, len(long_enough))
    drawn = [corpus[doc_id] for _, doc_id in islice(turns([], long_enough, seed=config.seed), num_drawn)]
    if is_made(config.output_file, settings, overwrite=config.overwrite):
        return drawn
    if num_drawn < config.count:
        say(f"note: only {num_drawn:,} of {len(corpus):,} documents have {config.min_length:,} characters")
    about = manifest(command=["sharprank", "sample"], settings=settings, inputs=inputs)
    counts = {"documents": len(corpus), "long_enough": len(long_enough), "drawn": num_drawn}
    with open_together(config.output_file, f"{config.output_file}.stats.json") as (file, stats_file):
        file.writelines(f"{document.doc_id}\n" for document in drawn)
        stats_file.write(json_document({**about, **counts}))
    return drawn
