"""`sharprank mine` as it is typed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sharprank.cli.mine import main

ROOT = Path(__file__).parents[2]


@pytest.fixture
def words(tmp_path, tiny_encoder) -> list[str]:
    rows = [{"query": f"find {i}", "pos": [f"apple tree {i}"], "neg": [f"river house {i} {i}"]} for i in range(20)]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return [
        "--model_name_or_path", str(tiny_encoder), "--input_file", str(tmp_path / "in.jsonl"), "--output_file",
        str(tmp_path / "out.jsonl"), "--range_for_sampling", "2-20", "--negative_number", "3", "--device", "cpu",
    ]  # fmt: skip


def mined(tmp_path) -> list[dict]:
    return [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]


def test_the_command_mines_and_prints_what_it_did_on_stdout(words, tmp_path, capsys):
    assert main(words) == 0
    assert all(len(row["neg"]) == 3 for row in mined(tmp_path))
    printed = capsys.readouterr().out
    assert "40 passages" in printed
    assert "60 mined from ranks 3-20" in printed
    assert "out.jsonl.stats.json" in printed


def test_the_door_mines_too(words, tmp_path):
    command = [sys.executable, "-m", "finetune.hn_mine", *words]
    done = subprocess.run(command, cwd=ROOT / "embedding", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(mined(tmp_path)) == 20


@pytest.mark.parametrize("flag", ["--embedder_name_or_path", "--embedder-name-or-path", "--model-name-or-path"])
def test_other_spellings_of_the_model_flag_work(words, tmp_path, flag):
    assert main([flag, *words[1:]]) == 0


@pytest.mark.parametrize("more", [["--output_scores"], ["--output_scores", "True"], ["--output-scores=true"]])
def test_booleans_work_bare_and_valued(words, tmp_path, more):
    assert main([*words, *more]) == 0
    assert "neg_rank" in mined(tmp_path)[0]


def test_all_flags_of_the_reference_are_accepted(words, tmp_path):
    more = ["--query_instruction_for_retrieval", "find the ", "--candidate_pool", str(tmp_path / "pool.jsonl")]
    (tmp_path / "pool.jsonl").write_text("".join(json.dumps({"text": f"cat dog {i}"}) + "\n" for i in range(30)))
    assert main([*words, *more]) == 0
    stats = json.loads((tmp_path / "out.jsonl.stats.json").read_text())
    assert stats["encoder"]["query_instruction"] == "find the "
    assert stats["pool"]["passages"] == 30


def test_gpu_search_without_gpu_is_an_error_with_exit_code_2(words, tmp_path, capsys):
    faiss = pytest.importorskip("faiss")
    if hasattr(faiss, "StandardGpuResources") and faiss.get_num_gpus() > 0:
        pytest.skip("this faiss has a GPU")
    assert main([*words, "--use_gpu_for_searching"]) == 2
    message = capsys.readouterr().err
    assert message.startswith("error: --use_gpu_for_searching")
    assert "fix: " in message
    assert not (tmp_path / "out.jsonl").exists()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"query": "q", "pos": ["p"]', "in.jsonl:2"),
        ('{"query": "", "pos": ["p"]}', "in.jsonl:2"),
        ('{"query": "q", "pos": []}', "in.jsonl:2"),
        ('{"query": "q"}', "in.jsonl:2"),
        ('{"query": "q", "pos": [null]}', "in.jsonl:2"),
        ('{"query": "q", "pos": ["p"], "neg": [3]}', "in.jsonl:2"),
        ('{"query": "q", "pos": ["p"], "neg": ["n"], "neg_scores": [NaN]}', "in.jsonl:2"),
        ('{"query": "q", "pos": ["p"], "neg": ["n"], "neg_scores": [1, 2]}', "in.jsonl:2"),
        ('{"query": "half \\ud800 a character", "pos": ["p"]}', "in.jsonl:2"),
    ],
)
def test_a_bad_row_is_named_by_file_and_line_with_exit_code_2(words, tmp_path, capsys, line, said):
    good = '{"query": "q", "pos": ["apple"], "neg": ["cat"]}'
    (tmp_path / "in.jsonl").write_text("\n".join([good, line, good]) + "\n")
    assert main(words) == 2
    message = capsys.readouterr().err
    assert said in message
    assert "fix: " in message
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl"]


def test_a_positive_that_is_a_text_counts_as_one_and_is_said(words, tmp_path, capsys):
    rows = [{"query": f"find {i}", "pos": f"apple tree {i}", "neg": [f"cat {i}"]} for i in range(20)]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main(words) == 0
    assert mined(tmp_path)[3]["pos"] == ["apple tree 3"]
    assert all(len(text) > 1 for row in mined(tmp_path) for text in row["neg"])
    assert "'pos' is a text" in capsys.readouterr().err


def test_a_model_that_does_not_say_its_pooling_is_an_error_with_exit_code_2(words, tmp_path, tiny_bert, capsys):
    words[1] = str(tiny_bert)
    assert main(words) == 2
    assert "--pooling_method" in capsys.readouterr().err
    assert main([*words, "--pooling_method", "mean"]) == 0


def test_help_comes_up_without_torch():
    code = (
        "import sys\nfrom sharprank.cli.mine import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "assert not {'torch', 'faiss', 'datasets'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--range_for_sampling" in done.stdout
