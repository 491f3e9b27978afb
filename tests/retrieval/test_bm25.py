"""BM25 against the formula worked out here, and its promises on ties, scripts and empty queries."""

import math
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sharprank.errors import UserError
from sharprank.retrieval.bm25 import BM25, Tokenizer

words = st.lists(st.sampled_from(["cat", "dog", "fish", "tree", "sun"]), min_size=1, max_size=6).map(" ".join)


def brute_force(passages, query, k1, b):
    """Lucene's BM25 (without its constant factor k1 + 1), term by term."""
    rows = {passage_id: text.split() for passage_id, text in passages.items()}
    mean_length = sum(map(len, rows.values())) / len(rows)
    scores = dict.fromkeys(passages, 0.0)
    for term in query.split():
        holding = sum(term in row for row in rows.values())
        idf = math.log(1 + (len(rows) - holding + 0.5) / (holding + 0.5))
        for passage_id, row in rows.items():
            count = row.count(term)
            scores[passage_id] += idf * count / (count + k1 * (1 - b + b * len(row) / mean_length))
    return {passage_id: score for passage_id, score in scores.items() if score > 0}


@settings(max_examples=40)
@given(st.lists(words, min_size=1, max_size=8), words, st.sampled_from([(0.9, 0.4), (1.5, 0.75)]))
def test_scores_are_those_of_the_formula(texts, query, knobs):
    k1, b = knobs
    passages = {f"p{i}": text for i, text in enumerate(texts)}
    run = BM25(passages, k1=k1, b=b, stem=False).search({"q": query}, k=100)
    assert run["q"] == pytest.approx(brute_force(passages, query, k1, b), rel=1e-4)


def test_the_best_come_first_and_ties_are_ordered_by_id():
    passages = {"d": "cat", "a": "cat", "c": "cat cat cat", "b": "cat", "e": "dog"}
    run = BM25(passages).search({"q": "cat"}, k=3)
    assert list(run["q"]) == ["c", "a", "b"]
    assert list(run["q"].values()) == sorted(run["q"].values(), reverse=True)


def test_k_larger_than_what_matches_gives_what_matches():
    assert list(BM25({"a": "cat", "b": "dog"}).search({"q": "cats"}, k=10)["q"]) == ["a"]


def test_a_query_without_known_words_gets_an_empty_list():
    assert BM25({"a": "cat"}).search({"q": "zebra", "blank": "", "signs": "?!"}, k=5) == {
        "q": {},
        "blank": {},
        "signs": {},
    }


def test_texts_without_ids_are_numbered():
    assert list(BM25(["cat", "dog"]).search({"q": "dog"}, k=5)["q"]) == ["1"]


def test_common_english_words_of_a_query_count_only_when_there_is_nothing_else():
    index = BM25({"a": "the cat of the house", "b": "is it", "c": "dog"})
    assert list(index.search({"q": "is it the dog"}, k=5)["q"]) == ["c"]
    assert list(index.search({"q": "it is"}, k=5)["q"]) == ["b"]


def test_english_is_stemmed_unless_told_not_to():
    assert list(BM25({"a": "running dogs"}).search({"q": "dog runs"}, k=1)["q"]) == ["a"]
    assert BM25({"a": "running dogs"}, stem=False).search({"q": "dog runs"}, k=1)["q"] == {}


@pytest.mark.parametrize(
    "relevant, other, query",
    [
        ("北京是中国的首都", "上海的天气很好", "中国首都"),
        ("東京タワーの高さは333メートルです", "大阪の天気は晴れです", "タワーの高さ"),
        ("서울은 대한민국의 수도이다", "부산의 날씨는 맑다", "대한민국 수도"),
        ("กรุงเทพเป็นเมืองหลวงของไทย", "อากาศวันนี้ดีมาก", "เมืองหลวง"),
        ("Москва столица России", "Погода сегодня хорошая", "столица"),
        ("Die Straße nach Köln", "Das Wetter ist gut", "köln"),
        ("एक दिन की यात्रा", "एक दान की कथा", "दिन"),
        ("كتب الولد الدرس", "ذهب الولد إلى البيت", "كَتَبَ"),
        ("İstanbul gezisi", "Ankara gezisi", "istanbul"),
    ],
)
def test_other_scripts_are_searched(relevant, other, query):
    assert next(iter(BM25({"a": other, "b": relevant}).search({"q": query}, k=2)["q"])) == "b"


def test_mixed_text_is_cut_at_the_border_of_scripts():
    assert Tokenizer()("用Python3写代码") == ["用", "python3", "写代", "代码"]


def test_vowel_signs_belong_to_the_word_and_vowel_points_are_left_out():
    assert Tokenizer()("हिन्दी भाषा, தமிழ் שָׁלוֹם") == ["हिन्दी", "भाषा", "தமிழ்", "שלום"]


def test_full_width_letters_are_plain_letters():
    assert Tokenizer()("Ｐｙｔｈｏｎ") == ["python"]


@pytest.mark.parametrize("passages", [{}, {"a": "?!", "b": ""}])
def test_a_pool_without_words_is_refused(passages):
    with pytest.raises(UserError, match="no word"):
        BM25(passages)


def test_hash_seeds_do_not_change_the_run():
    code = (
        "from sharprank.retrieval.bm25 import BM25;"
        "t=[' '.join(f'w{(i*j)%7}' for j in range(5)) for i in range(30)];"
        "print(BM25(t).search({'q': 'w1 w3 w5'}, 20))"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed}
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1
