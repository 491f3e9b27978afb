"""The adapters are what LangChain, LlamaIndex and Haystack expect, and rank as `Reranker` does."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

import pytest

from sharprank import Reranker

os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"

QUERY = "what is a cat"
PASSAGES = ["a cat is not a dog", "the tree and the river", "open the file, read it"]


@pytest.fixture(scope="module")
def reranker(tiny_bert) -> Reranker:
    return Reranker.from_pretrained(str(tiny_bert), dtype="float32", device="cpu")


@pytest.fixture(scope="module")
def expected(reranker):
    return reranker.rank(QUERY, PASSAGES, normalize=True)


def test_langchain_compresses_with_it(reranker, expected):
    documents = pytest.importorskip("langchain_core.documents", reason="needs the extra `langchain`")
    from sharprank import LangChainReranker

    given = [documents.Document(page_content=text, metadata={"n": n}) for n, text in enumerate(PASSAGES)]
    compressor = LangChainReranker(reranker=reranker, top_n=2)
    assert isinstance(compressor, documents.BaseDocumentCompressor)
    for found in (
        compressor.compress_documents(given, QUERY),
        asyncio.run(compressor.acompress_documents(given, QUERY)),
    ):
        assert [document.metadata["n"] for document in found] == [one.index for one in expected[:2]]
        scores = [document.metadata["relevance_score"] for document in found]
        assert scores == pytest.approx([one.score for one in expected[:2]], abs=1e-6)
    assert all("relevance_score" not in document.metadata for document in given)
    assert compressor.compress_documents([], QUERY) == []
    with pytest.raises(ValueError, match="top_n is 0"):
        LangChainReranker(reranker=reranker, top_n=0)


def test_langchain_composes_with_it(reranker, expected):
    documents = pytest.importorskip("langchain_core.documents", reason="needs the extra `langchain`")
    from langchain_core.runnables import RunnableLambda

    from sharprank import LangChainReranker

    compressor = LangChainReranker(reranker=reranker, top_n=1, normalize=False)
    chain = RunnableLambda(lambda query: [documents.Document(page_content=text) for text in PASSAGES]) | RunnableLambda(
        lambda found: compressor.compress_documents(found, QUERY)
    )
    assert [document.page_content for document in chain.invoke(QUERY)] == [expected[0].passage]


def test_llama_index_postprocesses_with_it(reranker, expected):
    schema = pytest.importorskip("llama_index.core.schema", reason="needs the extra `llama-index`")
    from llama_index.core.postprocessor.types import BaseNodePostprocessor

    from sharprank import LlamaIndexReranker

    given = [schema.NodeWithScore(node=schema.TextNode(text=text), score=0.1) for text in PASSAGES]
    postprocessor = LlamaIndexReranker(reranker=reranker, top_n=2)
    assert isinstance(postprocessor, BaseNodePostprocessor)
    for found in (
        postprocessor.postprocess_nodes(given, query_str=QUERY),
        asyncio.run(postprocessor.apostprocess_nodes(given, query_str=QUERY)),
    ):
        assert [node.text for node in found] == [one.passage for one in expected[:2]]
        assert [node.score for node in found] == pytest.approx([one.score for one in expected[:2]], abs=1e-6)
    assert [node.score for node in given] == [0.1] * 3
    assert postprocessor.postprocess_nodes([], query_str=QUERY) == []
    with pytest.raises(ValueError, match="without a query"):
        postprocessor.postprocess_nodes(given)
    with pytest.raises(ValueError, match="not a sharprank"):
        LlamaIndexReranker(reranker="some/model")


def test_haystack_runs_and_saves_it_in_a_pipeline(tiny_bert, expected):
    haystack = pytest.importorskip("haystack", reason="needs the extra `haystack`")
    from sharprank import HaystackReranker

    options = {"dtype": "float32", "device": "cpu"}
    pipeline = haystack.Pipeline()
    pipeline.add_component("ranker", HaystackReranker(str(tiny_bert), top_k=2, options=options))
    trust = {"allowed_modules": ["sharprank.serving.haystack"]} if haystack.__version__ >= "3" else {}
    pipeline = haystack.Pipeline.loads(pipeline.dumps(), **trust)
    given = [haystack.Document(content=text, meta={"n": n}) for n, text in enumerate(PASSAGES)]
    found = pipeline.run({"ranker": {"query": QUERY, "documents": given}})["ranker"]["documents"]
    assert [document.meta["n"] for document in found] == [one.index for one in expected[:2]]
    assert [document.score for document in found] == pytest.approx([one.score for one in expected[:2]], abs=1e-6)
    one = pipeline.run({"ranker": {"query": QUERY, "documents": given, "top_k": 1}})["ranker"]["documents"]
    assert len(one) == 1 and given[0].score is None
    with pytest.raises(ValueError, match="top_n is 0"):
        HaystackReranker(str(tiny_bert), top_k=0)


@pytest.mark.parametrize(
    ("name", "library", "extra"),
    [
        ("LangChainReranker", "langchain_core", "langchain"),
        ("LlamaIndexReranker", "llama_index", "llama-index"),
        ("HaystackReranker", "haystack", "haystack"),
    ],
)
def test_a_missing_library_is_answered_with_its_extra(name, library, extra):
    code = f"import sys; sys.modules[{library!r}] = None\nimport sharprank\nsharprank.Reranker\nsharprank.{name}"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert process.returncode == 1
    assert f"pip install 'sharprank[{extra}]'" in process.stderr.splitlines()[-1]
