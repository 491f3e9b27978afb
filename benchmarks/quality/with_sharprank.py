"""Our own recipe: `sharprank mine` and `sharprank train` as they would be typed, with default settings.

Only the number of steps and the pair length are said, and that nothing is saved on the way or held out: validation
queries are kept apart for every system alike.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.quality.budget import Effort, Pace
from benchmarks.quality.prepared import Prepared
from sharprank.cli.main import main as sharprank


@dataclass(frozen=True)
class Sharprank:
    """A recipe: default settings, or with some flags in place of them.

    Attributes:
        train_flags, mine_flags: flags of the two commands, by name.
        passes: over all rows, in the place of the benchmark's tokens.
    """

    train_flags: Mapping[str, Any] = field(default_factory=dict)
    mine_flags: Mapping[str, Any] = field(default_factory=dict)
    passes: int | None = None

    def recipe(self) -> dict[str, Any]:
        """What decides a result beside its size, as JSON has it: flags, and the defaults that training chooses from."""
        from sharprank.training import choices

        defaults = {name: value for name, value in vars(choices).items() if name.isupper()}
        told = {"train": self.train_flags, "mine": self.mine_flags, "passes": self.passes, "defaults": defaults}
        return json.loads(json.dumps(told, default=str))

    @property
    def mines(self) -> bool:
        """Whether its rows are others than those of the default settings."""
        return bool(self.mine_flags)

    def mine(self, collection: Prepared, output: Path, cache: Path, *, seed: int) -> None:
        """Write the rows; vectors are kept for the other seeds."""
        self._mine(collection.train_path, collection.corpus_path, output, cache, seed=seed)

    def _mine(self, rows: Path, pool: Path, output: Path, cache: Path, *, seed: int) -> None:
        flags = {
            "input_file": rows,
            "candidate_pool": pool,
            "output_file": output,
            "model_name_or_path": "minilm",
            "embedding_cache": cache,
            "seed": seed,
        }
        command("mine", {**flags, **self.mine_flags})

    def pace(self, mined: Path, start: Path, *, max_len: int) -> Pace:
        """Tokens of a first epoch's groups and the groups of a step, from a training of one step."""
        seen: list[Pace] = []

        def look(trainer: Any) -> None:
            from sharprank.training.groups import DrawKey

            data, args = trainer.train_dataset, trainer.args
            tokens = [data.group_tokens(DrawKey(row, 0)) for row in range(len(data))]
            groups = args.per_device_train_batch_size * args.gradient_accumulation_steps * args.world_size
            seen.append(Pace.of(tokens, a_step=groups))

        with tempfile.TemporaryDirectory() as folder, _after_training(look):
            self._train(mined, Path(folder) / "model", max_steps=1, seed=0, max_len=max_len)
        return seen[0]

    def train(self, mined: Path, start: Path, output: Path, *, steps: int, seed: int, max_len: int) -> Effort:
        """`steps` steps; the model is `minilm` with the head that it gets here, so `start` plays no part."""
        effort = Effort(steps)

        def look(trainer: Any) -> None:
            effort.steps, effort.tokens = trainer.state.global_step, trainer.useful_tokens

        length = {"max_steps": steps} if self.passes is None else {"num_train_epochs": self.passes}
        with _after_training(look, effort):
            self._train(mined, output, **length, seed=seed, max_len=max_len)
        return effort

    def _train(self, mined: Path, output: Path, **said: int) -> None:
        flags = {
            "model_name_or_path": "minilm",
            "train_data": mined,
            "output_dir": output,
            "validation_split": 0,
            "save_strategy": "no",
            "report_to": "none",
        }
        command("train", {**flags, **said, **self.train_flags})


@contextlib.contextmanager
def _after_training(look: Callable[[Any], None], effort: Effort | None = None) -> Iterator[None]:
    """Show the trainer to `look` when its last step is done, and time it as the peers' trainers are timed."""
    from sharprank.training.trainer import RerankTrainer

    trainer_class: Any = RerankTrainer
    whole = trainer_class.train

    def timed(trainer: Any, *args: Any, **kwargs: Any) -> Any:
        wall, cpu = time.perf_counter(), time.process_time()
        result = whole(trainer, *args, **kwargs)
        if effort is not None:
            effort.wall, effort.cpu = time.perf_counter() - wall, time.process_time() - cpu
        look(trainer)
        return result

    trainer_class.train = timed
    try:
        yield
    finally:
        trainer_class.train = whole


def command(name: str, flags: Mapping[str, Any]) -> None:
    """Run a command of the package with these flags."""
    if sharprank([name, *(f"--{flag}={value}" for flag, value in flags.items())]):
        raise SystemExit(f"sharprank {name} failed")
