"""Passages and their vectors in one SQLite file, by sqlite-vec."""

import json
from array import array
from collections.abc import Sequence
from dataclasses import dataclass

from services.common.errors import BadSetting, ComponentMissing
from services.common.files import private_opener

try:
    import apsw
    import sqlite_vec
except ImportError as missing:
    raise ComponentMissing(
        f"the retriever needs apsw and sqlite-vec ({missing}): pip install 'pdmesh[retrieval]'"
    ) from None

_SCHEMA = """
create table if not exists facts(name text primary key, value text) without rowid;
create table if not exists documents(
    id integer primary key, collection text, name text, source text, unique(collection, name)
);
create table if not exists passages(
    id integer primary key, document integer references documents(id), number integer, text text
);
create index if not exists passages_of on passages(document);
create virtual table if not exists vectors using vec0(
    collection text partition key, passage integer primary key,
    embedding float[{dimensions}] distance_metric=cosine
);
"""
_NEAREST = """
select documents.name, passages.number, passages.text, documents.source, near.distance
from (
    select passage, distance from vectors where embedding match ? and k = ? and collection = ?
) as near
join passages on passages.id = near.passage join documents on documents.id = passages.document
order by near.distance
"""


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """A document as it is kept: its passages, each with its vector."""

    name: str
    source: str
    passages: Sequence[str]
    vectors: "Sequence[array[float]]"


@dataclass(frozen=True, slots=True)
class Found:
    """A passage that fits a query. `score` is the cosine: 1 is the same, 0 is unrelated."""

    passage_id: str
    text: str
    source: str
    score: float


def _make_private(path: str) -> None:
    """Documents are for this user alone; SQLite gives the files beside this one the same permissions."""
    if path and not path.startswith((":memory:", "file:")):
        with open(path, "ab", opener=private_opener):
            pass


class VectorStore:
    """One file; used by one thread at a time. A document is replaced or deleted as a whole, or not at all."""

    def __init__(self, path: str, dimensions: int, embedder: str) -> None:
        """Raises `BadSetting` for a file that cannot be opened or holds another embedder's vectors."""
        try:
            _make_private(path)
            self._db = apsw.Connection(path)
            self._db.set_busy_timeout(5_000)
            self._db.enable_load_extension(True)
            self._db.load_extension(sqlite_vec.loadable_path())
            self._db.enable_load_extension(False)
            self._db.pragma("journal_mode", "wal")
            self._db.execute(_SCHEMA.format(dimensions=dimensions))
        except (apsw.Error, OSError) as error:
            raise BadSetting(f"--store-file: {path}: {error}") from None
        self._check_embedder(path, embedder)

    def put(self, scope: Sequence[str], documents: Sequence[StoredDocument]) -> int:
        """Add documents to a collection, or replace those of the same name; the number of passages."""
        key = _key(scope)
        with self._db:
            for document in documents:
                self._delete(key, document.name)
                self._put(key, document)
        return sum(len(document.passages) for document in documents)

    def delete(self, scope: Sequence[str], names: Sequence[str]) -> int:
        """Forget documents; the number of passages that they had."""
        with self._db:
            gone = [self._delete(_key(scope), name) for name in names]
        return sum(gone)

    def search(self, scope: Sequence[str], vector: "array[float]", passages_max: int) -> list[Found]:
        """The nearest passages of a collection, nearest first; those that share nothing are left out."""
        rows = self._db.execute(_NEAREST, (vector.tobytes(), passages_max, _key(scope)))
        found = [Found(f"{name}#{n}", text, source, 1.0 - far) for name, n, text, source, far in rows]
        return [passage for passage in found if passage.score > 0.0]

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _put(self, key: str, document: StoredDocument) -> None:
        self._db.execute(
            "insert into documents(collection, name, source) values (?, ?, ?)",
            (key, document.name, document.source),
        )
        owner = self._db.last_insert_rowid()
        for number, (text, vector) in enumerate(zip(document.passages, document.vectors, strict=True)):
            self._db.execute(
                "insert into passages(document, number, text) values (?, ?, ?)", (owner, number, text)
            )
            self._db.execute(
                "insert into vectors(collection, passage, embedding) values (?, ?, ?)",
                (key, self._db.last_insert_rowid(), vector.tobytes()),
            )

    def _delete(self, key: str, name: str) -> int:
        """Forget a document, if there is one; the number of its passages."""
        gone = 0
        wanted = "select id from documents where collection = ? and name = ?"
        for (owner,) in self._db.execute(wanted, (key, name)).fetchall():
            ids = self._db.execute("select id from passages where document = ?", (owner,)).fetchall()
            self._db.executemany("delete from vectors where passage = ?", ids)
            self._db.execute("delete from passages where document = ?", (owner,))
            self._db.execute("delete from documents where id = ?", (owner,))
            gone += len(ids)
        return gone

    def _check_embedder(self, path: str, embedder: str) -> None:
        with self._db:
            self._db.execute("insert or ignore into facts values ('embedder', ?)", (embedder,))
            ((kept,),) = self._db.execute("select value from facts where name = 'embedder'").fetchall()
        if kept != embedder:
            self._db.close()
            raise BadSetting(f"--embedder: {path} holds vectors of {kept}, not of {embedder}")


def _key(scope: Sequence[str]) -> str:
    """Tenant and collection as one text, in which no name can pose as another."""
    return json.dumps(list(scope), ensure_ascii=False)
