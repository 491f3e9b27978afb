"""The Python API beyond its snippets: every argument does what it says, mistakes are named, runs resume."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, TrainingArguments

from sharprank import AutoModelForRanking, CrossEncoder, RerankCollator, RerankDataset, RerankTrainer
from sharprank.errors import UserError
from sharprank.models.scoring import PairScorer
from tests.training.conftest import make_rows, write_rows

PAIRS = [("a cat", "the dog can read"), ("read", "write the file to the house " * 9), ("what is it", "red")]
CPU = {"device": "cpu"}


@pytest.fixture
def rows(tmp_path) -> str:
    return write_rows(tmp_path / "rows.jsonl", make_rows(12, seed=1, num_negatives=3))


def dataset(rows: str, **options) -> RerankDataset:
    return RerankDataset(rows, positive_key="pos", negative_key="neg", **options)


def arguments(folder, **flags) -> TrainingArguments:
    flags = {"per_device_train_batch_size": 4, "num_train_epochs": 2, "logging_steps": 1, "report_to": "none", **flags}
    return TrainingArguments(output_dir=str(folder), use_cpu=True, learning_rate=1e-3, **flags)


def losses(trainer) -> list[float]:
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def test_scores_are_those_of_our_scorer_for_any_batch_size_and_length(tiny_bert):
    model = AutoModelForRanking.from_pretrained(str(tiny_bert), **CPU).train()
    for length in (32, 64, 128):
        expected = PairScorer.load(str(tiny_bert), max_length=length, device="cpu").score(PAIRS)
        for batch_size in (1, 128):
            found = model.compute_score(PAIRS, batch_size=batch_size, max_length=length)
            np.testing.assert_allclose(found, expected, atol=1e-5)
    assert model.training and model.model.training
    probabilities = model.compute_score(sentence_pairs=PAIRS, max_length=128, normalize=True)
    np.testing.assert_allclose(probabilities, 1 / (1 + np.exp(-expected)), atol=1e-5)
    assert model.compute_score([]) == [] and isinstance(model.compute_score(PAIRS[:1]), list)


def test_temperature_divides_scores_and_logits(tiny_bert):
    cold, plain = (AutoModelForRanking.from_pretrained(str(tiny_bert), temperature=t, **CPU) for t in (0.5, None))
    np.testing.assert_allclose(cold.compute_score(PAIRS), 2 * np.asarray(plain.compute_score(PAIRS)), rtol=1e-5)
    batch = RerankCollator(plain.tokenizer)([{"query": "a", "document": "b"}])
    torch.testing.assert_close(cold.eval()(**batch)["logits"], 2 * plain.eval()(**batch)["logits"])


def test_a_language_model_trains_and_scores_with_one_prompt(tiny_qwen3, rows, tmp_path):
    model = AutoModelForRanking.from_pretrained(str(tiny_qwen3), causal_lm=True, max_length=200, **CPU)
    assert model.prompt is not None
    collator = RerankCollator(model.tokenizer, query_max_length=40, document_max_length=60)
    trainer = RerankTrainer(model, arguments(tmp_path / "out"), train_dataset=dataset(rows), data_collator=collator)
    batch = collator([{"query": q, "document": d[:30], "labels": 1} for q, d in PAIRS])
    expected = [p[0].tolist() for p in model.scorer().pair_tokenizer.encode([(q, d[:30]) for q, d in PAIRS])]
    found = [ids[mask.bool()].tolist() for ids, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True)]
    assert found == expected
    logits = model.eval()(**batch)["logits"][:, 0].detach()
    np.testing.assert_allclose(model.compute_score([(q, d[:30]) for q, d in PAIRS]), logits, atol=1e-5)
    trainer.train()
    assert np.mean(losses(trainer)[-3:]) < np.mean(losses(trainer)[:3])


def test_losses_are_what_they_are_called(tiny_bert):
    batch = RerankCollator(AutoTokenizer.from_pretrained(tiny_bert))(
        [(q, d, label) for (q, d), label in zip(PAIRS, (1, 0, 0.5), strict=True)]
    )
    labels = batch["labels"]
    models = {kind: AutoModelForRanking.from_pretrained(str(tiny_bert), loss_type=kind, **CPU).eval()
              for kind in ("classification", "regression")}  # fmt: skip
    scores = models["regression"](**batch)["logits"][:, 0]
    p = torch.sigmoid(scores)
    bce = -(labels * p.log() + (1 - labels) * (1 - p).log()).mean()
    torch.testing.assert_close(models["classification"](**batch)["loss"], bce)
    torch.testing.assert_close(models["regression"](**batch)["loss"], ((p - labels) ** 2).mean())
    own = AutoModelForRanking.from_pretrained(str(tiny_bert), loss_fn=lambda s, y: (s * y).sum(), **CPU).eval()
    torch.testing.assert_close(own(**batch)["loss"], (scores * labels).sum())
    grouped = AutoModelForRanking.from_pretrained(str(tiny_bert), train_group_size=3, **CPU).eval()
    batch["labels"] = torch.tensor([0.0, 1.0, 0.0])
    torch.testing.assert_close(grouped(**batch)["loss"], -torch.log_softmax(scores, 0)[1])


def test_both_forms_of_the_collator_cut_what_they_say(tiny_bert):
    tokenizer = AutoTokenizer.from_pretrained(tiny_bert)
    long = {"query": "cat " * 40, "document": "dog " * 90, "labels": 1}
    cat, dog = tokenizer.convert_tokens_to_ids(["cat", "dog"])

    def lengths(collator, rows=(long,)):
        ids = collator(list(rows))["input_ids"]
        return [int((ids[0] == token).sum()) for token in (cat, dog)], ids.shape[1]

    assert lengths(RerankCollator(tokenizer, query_max_length=10, document_max_length=20)) == ([10, 20], 33)
    assert lengths(RerankCollator(tokenizer, max_length=64)) == ([40, 21], 64)
    assert lengths(RerankCollator(tokenizer, 64)) == ([40, 21], 64)
    assert lengths(RerankCollator(tokenizer)) == ([40, 85], 128)
    short = {"query": "cat", "document": "dog", "labels": 0}
    assert lengths(RerankCollator(tokenizer), [short]) == ([1, 1], 5)
    pair = RerankCollator(tokenizer, query_max_length=50, document_max_length=20)([short | {"document": "dog " * 90}])
    assert int((pair["input_ids"][0] == dog).sum()) == 20
    expected = tokenizer(["cat"], ["dog"], return_tensors="pt")
    batch = RerankCollator(tokenizer)([("cat", "dog", 1.0)])
    assert all(torch.equal(batch[name], expected[name]) for name in expected)
    renamed = RerankCollator(tokenizer, query_key="q", document_key="d")([{"q": "cat", "d": "dog"}])
    assert torch.equal(renamed["input_ids"], expected["input_ids"]) and "labels" not in renamed


def test_a_tokenizer_without_padding_pads_with_its_last_token(tiny_qwen3):
    tokenizer = AutoTokenizer.from_pretrained(tiny_qwen3, pad_token=None)
    batch = RerankCollator(tokenizer, append_eos_token=True)([("cat", "dog"), ("a cat", "dog " * 9)])
    assert batch["attention_mask"].sum(1).tolist() != [batch["input_ids"].shape[1]] * 2
    assert set(batch["input_ids"][0][batch["attention_mask"][0] == 0].tolist()) == {tokenizer.eos_token_id}
    assert int(batch["input_ids"][1, -1]) == tokenizer.eos_token_id


def test_the_dataset_draws_anew_and_uses_what_it_was_told(rows):
    data = dataset(rows, train_group_size=3)
    assert len(data) == 36 and set(data[0]) == {"query", "document", "labels"}
    assert [data[i]["labels"] for i in range(6)] == [1, 0, 0, 1, 0, 0]
    seen = set()
    for epoch in range(3):
        data.set_epoch(epoch)
        drawn = {data[1]["document"], data[2]["document"]}
        assert len(drawn) == 2
        seen |= drawn
    assert len(seen) == 3  # every negative has had its turn
    assert len(dataset(rows, train_group_size=1)) == 12
    assert len(dataset(rows, train_group_size=None)) == 48
    loaded = [{"query": "q", "pos": ["a", "b"], "neg": ["c"]}]
    unfolded = RerankDataset(loaded, True, 2, positive_key="pos", negative_key="neg")
    assert [unfolded[i]["document"] for i in range(4)] == ["a", "c", "b", "c"]
    with pytest.raises(UserError, match="no field 'document'"):
        RerankDataset(rows)


def test_training_resumes_to_the_same_weights_and_evaluates(tiny_bert, rows, tmp_path):
    def train(folder, **options):
        model = AutoModelForRanking.from_pretrained(str(tiny_bert), **CPU)
        trainer = RerankTrainer(
            model, arguments(folder, save_steps=4, seed=3), train_dataset=dataset(rows), eval_dataset=dataset(rows)
        )
        trainer.train(**options)
        return trainer, {name: p.clone() for name, p in model.state_dict().items()}

    whole, expected = train(tmp_path / "out")
    _, found = train(tmp_path / "out", resume_from_checkpoint=str(tmp_path / "out" / "checkpoint-4"))
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert whole.evaluate()["eval_loss"] < losses(whole)[0]
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out" / "checkpoint-12").eval()
    batch = AutoTokenizer.from_pretrained(tiny_bert)([list(PAIRS[0])], return_tensors="pt")
    score = whole.model.compute_score(PAIRS[0])
    assert plain(**batch).logits.item() == pytest.approx(score, abs=1e-5)


@pytest.mark.parametrize("kind", ["groups", "adapter"])
def test_groups_and_adapters_resume_to_the_same_batches_and_weights(kind, tiny_bert, rows, tmp_path):
    def train(**options):
        size = 2 if kind == "groups" else 1
        model = AutoModelForRanking.from_pretrained(
            str(tiny_bert), train_group_size=size, use_lora=kind == "adapter", **CPU
        )
        seen = []
        trainer = RerankTrainer(
            model, arguments(tmp_path / "out", save_steps=8, seed=3), train_dataset=dataset(rows, train_group_size=2)
        )
        step = trainer.training_step
        trainer.training_step = lambda m, inputs, *a, **k: (
            seen.append(inputs["input_ids"].tolist()),
            step(m, inputs, *a, **k),
        )[1]
        trainer.train(**options)
        return seen, {name: p.detach().clone() for name, p in model.named_parameters()}

    seen, expected = train()
    assert len(seen) == 12
    again, found = train(resume_from_checkpoint=str(tmp_path / "out" / "checkpoint-8"))
    assert again == seen[8:] and again != seen[2:6]
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_the_order_of_groups_follows_the_epoch_that_training_is_in(tiny_bert, rows, tmp_path):
    model = AutoModelForRanking.from_pretrained(str(tiny_bert), train_group_size=2, **CPU)
    data = dataset(rows, train_group_size=2)
    trainer = RerankTrainer(model, arguments(tmp_path / "out", seed=3), train_dataset=data)
    sampler = trainer._get_train_sampler()
    first = list(sampler)
    trainer.state.epoch = 1.5  # resumed: with several processes no loader passes it on
    trainer.callback_handler.on_epoch_begin(trainer.args, trainer.state, trainer.control)
    generator = torch.Generator().manual_seed(3)
    for order in (first, list(sampler)):
        assert order[::2] == [2 * group for group in torch.randperm(len(data) // 2, generator=generator).tolist()]


def test_the_best_adapter_is_what_training_ends_with(tiny_bert, rows, tmp_path):
    model = AutoModelForRanking.from_pretrained(str(tiny_bert), use_lora=True, **CPU)
    flags = {"save_steps": 4, "eval_steps": 4, "eval_strategy": "steps", "load_best_model_at_end": True}
    flags |= {"metric_for_best_model": "eval_loss", "greater_is_better": True}  # which is not the last then
    data = dataset(rows)
    trainer = RerankTrainer(model, arguments(tmp_path / "out", **flags), train_dataset=data, eval_dataset=data)
    trainer.train()
    best = trainer.state.best_model_checkpoint
    assert not best.endswith("checkpoint-12")
    expected = AutoModelForRanking.from_pretrained(best, **CPU).compute_score(PAIRS)
    np.testing.assert_allclose(model.compute_score(PAIRS), expected, atol=1e-5)


@pytest.mark.parametrize("pooling", ["late", "plain"])
def test_texts_are_read_in_training_as_they_are_scored(pooling, tiny_bert, rows, tmp_path):
    model = AutoModelForRanking.from_pretrained(str(tiny_bert), pooling_method=pooling, max_length=64, **CPU)
    collator = RerankCollator(model.tokenizer, max_length=64)
    RerankTrainer(model, arguments(tmp_path / "out"), train_dataset=dataset(rows), data_collator=collator)
    pair = ("what is [SEP] a cat", "a dog [SEP] can read")
    [(expected, _)] = model.scorer().pair_tokenizer.encode([pair])
    assert collator([(*pair, 1)])["input_ids"].tolist() == [expected.tolist()]
    assert expected.tolist().count(model.tokenizer.sep_token_id) == (2 if pooling == "late" else 4)


def test_groups_stay_together_in_training(tiny_bert, rows, tmp_path):
    model = AutoModelForRanking.from_pretrained(str(tiny_bert), train_group_size=4, **CPU)
    seen = []
    own = lambda scores, labels: (seen.append(labels.clone()), (scores * 0).sum())[1]  # noqa: E731
    trainer = RerankTrainer(
        model, arguments(tmp_path / "o"), train_dataset=dataset(rows, train_group_size=4), loss_fn=own
    )
    trainer.train()
    assert len(seen) == 24 and all(labels.tolist() == [[1, 0, 0, 0]] for labels in seen)
    with pytest.raises(UserError, match="not made of groups of 4"):
        RerankTrainer(model, arguments(tmp_path / "o", per_device_train_batch_size=6), train_dataset=dataset(rows))
    with pytest.raises(UserError, match="needs a RerankDataset"):
        RerankTrainer(model, arguments(tmp_path / "o"), train_dataset=dataset(rows, train_group_size=2))


def test_an_adapter_and_a_pooling_head_come_from_their_arguments(tiny_bert, tmp_path):
    from peft import LoraConfig

    model = AutoModelForRanking.from_pretrained(
        str(tiny_bert),
        pooling_method="mean",
        use_lora=True,
        lora_config=LoraConfig(r=2, target_modules=["query"]),
        **CPU,
    )
    names = [name for name, p in model.named_parameters() if p.requires_grad]
    assert sum("lora_A" in name for name in names) == 2 and any("score" in name for name in names)
    model.save_pretrained(str(tmp_path))
    again = AutoModelForRanking.from_pretrained(str(tmp_path), **CPU)
    np.testing.assert_allclose(again.compute_score(PAIRS), model.compute_score(PAIRS), atol=1e-5)


def test_a_model_already_loaded_gets_a_head(tiny_bert):
    model = AutoModelForSequenceClassification.from_pretrained(tiny_bert)
    ranker = AutoModelForRanking(model, AutoTokenizer.from_pretrained(tiny_bert), pooling_method="cls", device="cpu")
    states = model.bert(**ranker.tokenizer([list(PAIRS[0])], return_tensors="pt")).last_hidden_state[0, 0]
    assert ranker.compute_score(PAIRS[0]) == pytest.approx(ranker.model.score.linear(states).item(), abs=1e-5)


def test_a_model_already_loaded_gets_the_head_that_compares_tokens_or_keeps_its_own(tiny_bert):
    model, tokenizer = (
        AutoModelForSequenceClassification.from_pretrained(tiny_bert),
        AutoTokenizer.from_pretrained(tiny_bert),
    )
    own = AutoModelForRanking(model, tokenizer, device="cpu").compute_score(PAIRS)
    assert AutoModelForRanking(model, tokenizer, pooling_method="plain", device="cpu").compute_score(PAIRS) == own
    ranker = AutoModelForRanking(model, tokenizer, pooling_method="maxsim", device="cpu")
    assert ranker.model.config.sharprank["separator"] == tokenizer.sep_token_id
    assert ranker.compute_score(PAIRS) != own


def test_mistakes_are_named(tiny_bert, rows, tmp_path):
    path = str(tiny_bert)
    for options, message in (
        ({"num_labels": 2}, "2 labels"),
        ({"loss_type": "classfication"}, "loss_type 'classfication'"),
        ({"causal_lm": True}, "is no language model"),
        ({"pooling_method": "max"}, "'max' is unknown"),
        ({"temperature": 0.0}, "temperature 0.0"),
    ):
        with pytest.raises(UserError, match=message):
            AutoModelForRanking.from_pretrained(path, **CPU, **options)
    with pytest.raises(UserError, match="loss_type 'hinge'"):
        CrossEncoder.from_pretrained(path, "hinge")
    with pytest.raises(UserError, match="this is a BertForSequenceClassification"):
        RerankTrainer(AutoModelForSequenceClassification.from_pretrained(path), arguments(tmp_path))
    with pytest.raises(ValueError, match="a pair is"):
        AutoModelForRanking.from_pretrained(path, **CPU).compute_score([("a", "b", "c")])
