"""Replies of language models, whole and broken, and what is read in them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sharprank.synthesis.corpus import Document
from sharprank.synthesis.entities import entity_prompt, num_words, parse_entity
from sharprank.synthesis.judge import MARKER, judge_prompt, parse_verdict

DOCUMENT = Document("d", "Solar energy in Alba", "Engineers trained in Brig keep it running.")
LONG = 'Engineers (trained in Brig) keep the "solar" station > running | with ## spare parts < kept in a barn ' * 2


def reply(name="Brig", segment=LONG, query='what does Brig (the town) teach its "engineers" about power plants'):
    return (
        f'("bridge_entity"<|>{name}<|>town)\n##\n("relevant_segments"<|>{name}<|>{segment})\n##\n'
        f'("query"<|>{name}<|>{query})\n<|COMPLETE|>'
    )


def test_no_character_inside_a_field_cuts_it_short():
    entity = parse_entity(reply(), DOCUMENT)
    assert entity.segment == LONG.strip()
    assert entity.query == 'what does Brig (the town) teach its "engineers" about power plants'
    assert (entity.name, entity.kind) == ("Brig", "town")


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "Sure! Here are the records:\n" + text,
        lambda text: text.replace("\n##\n", "\n"),
        lambda text: text.replace("<|COMPLETE|>", ""),
        lambda text: text.replace('"bridge_entity"', "bridge_entity"),
        lambda text: text.replace("\n##\n", "##"),
        lambda text: "```\n" + text + "\n```",
    ],
)
def test_small_differences_of_form_are_read_all_the_same(change):
    entity = parse_entity(change(reply()), DOCUMENT)
    assert entity is not None and entity.query.startswith("what does Brig") and entity.query.endswith("plants")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I cannot do that.",
        reply(segment="too short to be a segment"),
        reply(name="solar  ENERGY in alba"),
        reply(query=""),
        reply().partition("##")[0],
        reply().replace("<|>", "|"),
    ],
)
def test_what_is_no_whole_entity_is_none(text):
    assert parse_entity(text, DOCUMENT) is None


def test_words_are_counted_in_every_script():
    assert num_words("two words") == 2
    assert num_words("向量搜索 in Python") == 4
    assert num_words("東京は日本の首都です。") == 6
    assert num_words("กรุงเทพมหานครเป็นเมืองหลวงของประเทศไทย") == 9
    assert 20 <= num_words("ប្រទេសកម្ពុជា" * 8) <= 40


def test_prompts_hold_the_texts_whatever_they_contain():
    odd = Document("x", "Braces {title}", "Body with {body} and {0} %s")
    assert "Body with {body} and {0} %s" in entity_prompt(odd)
    entity = parse_entity(reply(), DOCUMENT)
    prompt = judge_prompt(entity, odd)
    assert "Body with {body} and {0} %s" in prompt and "Braces {title}" in prompt and entity.segment in prompt


VALID = (
    "ANALYSIS:\nBridge connection: b\nDocument A segments: a\nDocument B segments: {segment}\nReasoning path: r\n"
    "SUB-QUESTIONS:\nSub-question 1: q1?\nAnswer 1: a1\nSub-question 2: q2?\nAnswer 2: a2\n"
)
WHOLE = VALID.format(segment="word " * 20)


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        (WHOLE, "valid"),
        (WHOLE.replace("Sub-question 1:", "**Sub-question 1:**").replace("Answer 2:", "- **Answer 2**:"), "valid"),
        (WHOLE.replace("Document B segments: ", "Document B segments:\n"), "valid"),
        (VALID.format(segment=""), "valid"),
        (VALID.format(segment="too few words"), "undecided"),
        ("INVALID_BRIDGE_CONNECTION: no link", "invalid"),
        ("Thinking it over.\n\n**INVALID_BRIDGE_CONNECTION** because", "invalid"),
        ("This is not an INVALID_BRIDGE_CONNECTION at all", "undecided"),
        ("INVALID_BRIDGE_CONNECTIONS", "undecided"),
        (WHOLE + "INVALID_BRIDGE_CONNECTION: or is it", "undecided"),
        (WHOLE.replace("Answer 2: a2", "Answer 2:"), "undecided"),
        (WHOLE.replace("Sub-question 2: q2?\nAnswer 2: a2\n", ""), "undecided"),
        (WHOLE + "Sub-question 3: q3?\nAnswer 3: a3\n", "undecided"),
        ("", "undecided"),
        ("Error 500", "undecided"),
        ("They are not connected.", "undecided"),
    ],
)
def test_only_the_explicit_marker_is_a_no(text, verdict):
    assert parse_verdict(text) == verdict


pieces = st.lists(
    st.one_of(
        st.text(max_size=12), st.sampled_from([*WHOLE.splitlines(keepends=True), *reply().splitlines(), MARKER, "\n"])
    ),
    max_size=14,
).map("".join)


@settings(max_examples=150)
@given(pieces)
def test_no_reply_breaks_the_reading_and_none_without_the_marker_is_a_no(text):
    assert parse_verdict(text) in ("valid", "undecided", *(["invalid"] if MARKER in text else []))
    entity = parse_entity(text, DOCUMENT)
    assert entity is None or (entity.name and entity.query and num_words(entity.segment) >= 20)


def test_a_degenerate_reply_is_read_in_no_time():
    for text in ("\n" * 20_000, "* " * 20_000, '("query"<|>' * 2_000, "Answer 1: " * 4_000, "(" * 20_000):
        assert parse_verdict(text) == "undecided"
        assert parse_entity(text, DOCUMENT) is None
