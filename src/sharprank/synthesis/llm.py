"""Rows by a language model, as reference system 004 makes them.

A document gives an entity and a query, diverse retrieval the passages, the judge a verdict on each in turn, until one
is valid (a positive) and one invalid (a negative). Passages without a clear verdict are neither.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sharprank.retrieval.diverse import Retriever
from sharprank.synthesis.chat import Chat
from sharprank.synthesis.corpus import Document
from sharprank.synthesis.entities import Entity, entity_prompt, parse_entity
from sharprank.synthesis.judge import Verdict, judge_prompt, parse_verdict
from sharprank.synthesis.outcome import Outcome

NO_ENTITY, NO_ANSWER, NOTHING_FOUND = "no entity in the reply", "no reply", "nothing retrieved"
NO_POSITIVE, NO_NEGATIVE, NO_VERDICT = "no valid passage", "no invalid passage", "no verdict on any passage"


class LlmGenerator:
    """Makes rows with two models behind one endpoint.

    Args:
        corpus: all documents.
        retriever: finds the passages to judge.
        chat: the endpoint.
        models: who writes queries, and who judges.
        num_candidates: passages judged for a query at most.
        max_tries: how often an unreadable reply is asked for again.
    """

    def __init__(
        self,
        corpus: Mapping[str, Document],
        retriever: Retriever,
        chat: Chat,
        *,
        models: tuple[str, str],
        num_candidates: int,
        max_tries: int,
    ) -> None:
        self._corpus, self._retriever, self._chat = corpus, retriever, chat
        self._models, self._num_candidates, self._max_tries = models, num_candidates, max_tries

    def attempt(self, document: Document, turn: int) -> Outcome:
        """See `Generator`."""
        entity, reason = self.entity(document, turn)
        if entity is None:
            return Outcome(reason=reason)
        about: dict[str, Any] = {"query": entity.query, "entity": entity.name}
        candidates = self._retriever.diverse(entity.query, self._num_candidates, source_id=document.doc_id)
        if not candidates:
            return Outcome(reason=NOTHING_FOUND, about=about)
        verdicts: dict[Verdict, list[str]] = {"valid": [], "invalid": [], "undecided": []}
        for passage_id in candidates:
            verdicts[self.verdict(entity, self._corpus[passage_id])].append(passage_id)
            if verdicts["valid"] and verdicts["invalid"]:
                break
        about["verdicts"] = verdicts
        if not verdicts["valid"] or not verdicts["invalid"]:
            missing = NO_VERDICT if not (verdicts["valid"] or verdicts["invalid"]) else NO_POSITIVE
            return Outcome(reason=NO_NEGATIVE if verdicts["valid"] else missing, about=about)
        row = {"query": entity.query, "pos": self._texts(verdicts["valid"]), "neg": self._texts(verdicts["invalid"])}
        return Outcome(row=row, about=about)

    def entity(self, document: Document, turn: int = 0) -> tuple[Entity | None, str | None]:
        """The entity of a document, or why there is none."""
        prompt, answered = entity_prompt(document), False
        for number in range(self._max_tries):
            reply = self._chat.ask(prompt, model=self._models[0], number=turn * self._max_tries + number)
            answered |= reply is not None
            entity = parse_entity(reply, document) if reply else None
            if entity is not None:
                return entity, None
        return None, NO_ENTITY if answered else NO_ANSWER

    def verdict(self, entity: Entity, passage: Document) -> Verdict:
        """The judge's verdict on one passage; undecided when no try gives a clear one."""
        prompt = judge_prompt(entity, passage)
        for number in range(self._max_tries):
            reply = self._chat.ask(prompt, model=self._models[1], number=number)
            verdict = parse_verdict(reply) if reply else "undecided"
            if verdict != "undecided":
                return verdict
        return "undecided"

    def _texts(self, passage_ids: list[str]) -> list[str]:
        return [self._corpus[passage_id].text for passage_id in passage_ids]
