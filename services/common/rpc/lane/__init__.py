"""Lanes: the frames of one bidirectional method over a TCP or TLS connection of their own.

A message through `grpc.aio` costs four times what it costs here, and nothing else in a router costs as much.
So a process that offers lanes tells its port by a gRPC method, `LaneService.Find`, and serves there the same
methods with the same messages. The ends look like `grpc.aio`'s calls, as far as a `Link` needs them.

A frame is one byte of kind, four bytes of length (big endian) and a body: `OPENING` once from the client,
then `MESSAGE` both ways; `END` says that the client sends no more, `STATUS` is the server's last word
(`google.rpc.Status`). A message of nothing but one token for each of some streams, which most are, is sent in
a shorter form, `TOKENS` (see `TokenFrame`), to a peer that has said that it reads them.
"""

from services.common.rpc.lane.client import open_stream
from services.common.rpc.lane.method import ATTACH, CONNECT, Method
from services.common.rpc.lane.server import LaneServer, LaneServicer

__all__ = ["ATTACH", "CONNECT", "LaneServer", "LaneServicer", "Method", "open_stream"]
