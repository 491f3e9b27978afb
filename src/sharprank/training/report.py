"""What a training run says while it runs: one bar and one line a log entry, on stderr.

It takes the place of transformers' own callback, which writes its lines to stdout.
"""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback

from sharprank.progress import progress_bar, say

_SHOWN = {"loss": ".4f", "grad_norm": ".2f", "learning_rate": ".2e"}


class TrainingProgress(TrainerCallback):
    """A progress bar with rate and time left, and the losses and measures above it."""

    def __init__(self) -> None:
        self.bar: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.bar = progress_bar(total=state.max_steps, desc="training", unit="step")
        self.bar.update(state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.bar.update(state.global_step - self.bar.n)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        line = describe(logs or {})
        if line:
            say(f"step {state.global_step}/{state.max_steps}: {line}")

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.bar.close()


def describe(logs: dict[str, Any]) -> str:
    """The part of a log entry worth a line: loss, gradient norm, learning rate and measures."""
    shown = [f"{name} {float(logs[name]):{form}}" for name, form in _SHOWN.items() if name in logs]
    shown += [
        f"{name.removeprefix('eval_')} {value:.4f}"
        for name, value in logs.items()
        if name.startswith("eval_") and isinstance(value, float)
    ]
    return ", ".join(shown)
