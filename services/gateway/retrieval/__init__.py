"""Passages for prompts: looked up by a `pdmesh.retrieval.v1.RetrieverService` before a prompt is rendered.

`Retrieval` is in `.retrieval`; nothing is imported here, because calls carry the `RetrievalReport`.
"""
