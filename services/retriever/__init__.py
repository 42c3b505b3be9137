"""The reference retriever: passages in one SQLite file, found by vectors (`pdmesh.retrieval.v1`)."""
