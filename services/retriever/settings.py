"""What the retriever can be told."""

from dataclasses import dataclass

from services.common.credentials import MeshSettings
from services.common.settings import group, setting


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of one retriever process."""

    host: str = setting("127.0.0.1", "address to listen on")
    port: int = setting(9400, "port to listen on; 0 picks a free one", least=0, most=65535)
    metrics_port: int = setting(0, "port for Prometheus; 0 is off", least=0, most=65535)
    store_file: str = setting("pdmesh-passages.db", "SQLite file of the passages; `:memory:` keeps nothing")
    embedder: str = setting("hashing", "what makes vectors: `hashing`, or MODULE:CLASS of one of your own")
    passage_chars_max: int = setting(1_000, "documents are cut into passages of about this length", least=100)
    mesh: MeshSettings = group(MeshSettings, "mesh_")
    grace_ms: int = setting(5_000, "time to finish what is in flight after SIGTERM", least=0)
