"""What `sharprank teach` can be told. Loads nothing.

Flags keep the names that users of FlagEmbedding's add_reranker_score know.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from sharprank.errors import UserError
from sharprank.formats.writers import check_apart

_CHANGE_NO_SCORE = {"output_file", "overwrite", "device", "cache_dir", "on_bad_row", "batch_size"}
FLAG_LLM = "decoder-only-base"
"""FlagEmbedding's name for language models that answer Yes, in its own prompt."""


def _flag(help_text: str, default: Any = None, *, aliases: list[str] | None = None) -> Any:
    return field(default=default, metadata={"help": help_text} | ({"aliases": aliases} if aliases else {}))


@dataclass(kw_only=True)
class TeachConfig:
    """The flags of `sharprank teach`."""

    model_name_or_path: str = field(
        metadata={
            "aliases": ["-m", "--reranker_name_or_path"],
            "help": "the teacher: any reranker, as a folder or a hub id",
        }
    )
    input_file: str = field(metadata={"help": "rows {query, pos, neg} or lists {query, docs}: a file, a folder, ..."})
    output_file: str = field(metadata={"help": "the same with the teacher's scores, as JSON lines (.gz understood)"})
    sub_data_name: str | None = _flag("subset (configuration) of the dataset that --input_file names")
    reranker_model_class: Literal["decoder-only-base"] | None = _flag(
        f"{FLAG_LLM}: score through FlagEmbedding's FlagLLMReranker, with its prompt; by default ours"
    )
    prompt: str | None = _flag(
        "how a language model is asked: a name or a JSON file; by default as stored, or by its kind"
    )
    instruction: str | None = _flag("what is to be judged, in the prompt's words")
    max_length: int | None = _flag(
        "tokens of a pair; by default as trained, else 512 or the model's limit", aliases=["--reranker_max_length"]
    )
    dtype: str | None = _flag(
        "float32, bfloat16, float16 or auto; by default bfloat16 on CUDA from Ampere on, else float32"
    )
    device: str | None = _flag("cpu, cuda, cuda:N or mps; by default the best there is")
    trust_remote_code: bool = _flag("run code that comes with the model", False)
    batch_size: int = _flag("FlagLLMReranker: pairs of a forward pass; ours are cut by tokens", 32)
    query_key: str = _flag("name of the query", "query")
    positive_key: str = _flag("name of a row's positives", "pos")
    negative_key: str = _flag("name of a row's negatives", "neg")
    passages_key: str | None = _flag("name of a list's texts; default docs, documents or passages")
    on_bad_row: Literal["error", "skip"] = _flag("stop at a bad row, or skip and count it", "error")
    overwrite: bool = _flag("score again even if the output exists", False)

    def check(self) -> None:
        """Refuse what cannot work, before anything is read.

        Raises:
            UserError: naming the flag and the way out.
        """
        check_apart({"output_file": self.output_file}, [("--input_file", self.input_file)])
        if self.reranker_model_class is not None and (self.prompt is not None or self.instruction is not None):
            raise UserError("FlagLLMReranker has its own prompt", fix="drop --prompt and --instruction")
        if self.batch_size < 1:
            raise UserError(f"--batch_size {self.batch_size} is less than 1", fix="use --batch_size 1 or more")

    def settings(self) -> dict[str, Any]:
        """All that decides the scores, the contents of the inputs apart."""
        return {name: value for name, value in asdict(self).items() if name not in _CHANGE_NO_SCORE}
