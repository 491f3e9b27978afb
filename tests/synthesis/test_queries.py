"""Queries from a document's own words: where they come from, and what is left as their passage."""

from __future__ import annotations

import pytest

from sharprank.retrieval.filters import NEAR_DUPLICATE, overlap, shingles
from sharprank.retrieval.tfidf import TfIdf
from sharprank.synthesis.config import KINDS
from sharprank.synthesis.corpus import Document
from sharprank.synthesis.queries import _sentences, body_of, queries_of

SENTENCES = [
    "Bees carry pollen from one flower to the next while they gather nectar for the hive.",
    "A hive of forty thousand bees visits several million flowers on a warm day in early summer.",
    "Farmers rent hives in spring because apple trees bear more fruit when bees have been there.",
    "Without bees the harvest of almonds in the valley would fall to a tenth within a single year.",
    "Wild bees sleep in holes of dead wood, and many gardens have become too tidy for them lately.",
    "Researchers count the bees of every meadow twice a month and publish what they find each autumn.",
    "The numbers have been falling in the south for ten years and rising a little in the cold north.",
]
DOCUMENT = Document("bees", "How bees feed the valley", " ".join(SENTENCES))
OTHERS = ["The harvest of grapes was late.", "Dogs sleep all day.", "A valley in the north is cold in winter."]
TFIDF = TfIdf([DOCUMENT.text, *OTHERS])


def by_kind(document=DOCUMENT, kinds=KINDS):
    found: dict[str, list] = {}
    for query in queries_of(document, TFIDF, kinds):
        found.setdefault(query.kind, []).append(query)
    return found


def test_the_title_asks_for_the_body():
    (title,) = by_kind()["title"]
    assert (title.text, title.passage) == (DOCUMENT.title, DOCUMENT.body)


def test_a_sentence_is_taken_out_of_its_passage():
    sentences = by_kind()["sentence"]
    assert 1 <= len(sentences) <= 3
    for query in sentences:
        assert query.text in SENTENCES and query.text not in query.passage
        assert all(other in query.passage for other in SENTENCES if other != query.text)


def test_every_passage_is_so_much_of_its_document_that_mining_knows_it_again():
    for queries in by_kind().values():
        for query in queries:
            assert overlap(shingles(query.passage), shingles(DOCUMENT.text)) >= NEAR_DUPLICATE


@pytest.mark.parametrize(
    ("sentence", "asked"),
    [
        ("RESULTS Wild bees sleep in holes of dead wood.", "Wild bees sleep in holes of dead wood."),
        ("METHODS AND FINDINGS: Wild bees sleep in holes.", "Wild bees sleep in holes."),
        ("Background: Wild bees sleep in holes of wood.", "Wild bees sleep in holes of wood."),
        ("Ann Lee (judge) Ann Lee (judge) Ann Lee (judge) was a judge.", "Ann Lee (judge) was a judge."),
        ("NASA sends bees to the moon every year.", "NASA sends bees to the moon every year."),
        ("DNA and RNA of bees differ from those of wasps.", "DNA and RNA of bees differ from those of wasps."),
    ],
)
def test_labels_and_repeated_names_are_not_asked_for(sentence, asked):
    document = Document("d", "", f"{SENTENCES[0]} {sentence}")
    found = [query for query in _sentences(document, document.body, TFIDF) if query.text == asked]
    assert found and sentence not in found[0].passage


def test_a_sentence_that_is_much_of_a_short_document_is_given_up():
    short = Document("s", "", " ".join(SENTENCES[:3]))
    assert "sentence" not in by_kind(short)


def test_phrases_are_rare_words_in_the_order_of_the_text():
    first = by_kind()["phrases"][0]
    words = first.text.split()
    assert len(words) == 6 and "bees" in [word.lower() for word in words]
    assert not {"the", "of", "and", "in"} & set(words)
    places = [DOCUMENT.body.index(word) for word in words]
    assert places == sorted(places)


def test_the_first_of_each_kind_come_before_the_second_ones():
    kinds = [query.kind for query in queries_of(DOCUMENT, TFIDF, KINDS)]
    assert kinds[:3] == ["title", "sentence", "sentence"]
    assert [query.kind for query in queries_of(DOCUMENT, TFIDF, ["sentence", "title"])][:2] == ["sentence", "title"]


def test_phrases_come_last_whatever_was_asked_for_first():
    kinds = [query.kind for query in queries_of(DOCUMENT, TFIDF, ["phrases", "title", "sentence"])]
    num_phrases = kinds.count("phrases")
    assert num_phrases and kinds[-num_phrases:] == ["phrases"] * num_phrases
    assert {query.kind for query in queries_of(DOCUMENT, TFIDF, ["phrases"])} == {"phrases"}


@pytest.mark.parametrize("line", ["## Counting wild bees in meadows ##", "Counting wild bees in meadows"])
def test_headings_are_queries_and_leave_the_passage(line):
    document = Document("h", "", "\n".join([*SENTENCES[:3], line, *SENTENCES[3:]]))
    (heading,) = by_kind(document)["heading"]
    assert heading.text == "Counting wild bees in meadows"
    assert heading.text not in heading.passage


def test_a_heading_that_says_little_takes_the_title_along():
    document = Document("h", "Bees", "\n".join([*SENTENCES[:3], "# Use", *SENTENCES[3:]]))
    assert by_kind(document)["heading"][0].text == "Bees Use"


def test_a_title_at_the_beginning_of_the_text_is_taken_off():
    repeated = Document("d", "Concord, Indiana", "Concord, Indiana Concord, Indiana Concord is a small town.")
    assert body_of(repeated) == "Concord is a small town."
    assert body_of(Document("d", "Con", "Concord is small.")) == "Concord is small."
    assert body_of(Document("d", "Same", "Same")) == "Same"


def test_a_document_without_words_or_title_gives_nothing():
    assert queries_of(Document("d", "", "?!"), TFIDF, KINDS) == []
    assert queries_of(Document("d", "One", "a text"), TFIDF, ["title"]) == []


def test_chinese_sentences_are_told_apart():
    sentences = [
        f"第{i}个研究小组在{town}测量了河水的温度和盐度并且公布了全部结果。" for i, town in enumerate("京沪广深杭苏宁")
    ]
    document = Document("z", "河水测量", "".join(sentences))
    found = by_kind(document)
    assert found["sentence"][0].text in sentences
