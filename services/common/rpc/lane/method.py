"""The methods that lanes carry."""

from dataclasses import dataclass

from google.protobuf.message import Message

from pdmesh.fleet.v1 import fleet_pb2
from pdmesh.router.v1 import router_pb2


@dataclass(frozen=True, slots=True)
class Method:
    """A bidirectional method: its gRPC name and its messages."""

    name: str
    request: type[Message]
    response: type[Message]


CONNECT = Method(
    "/pdmesh.router.v1.RouterService/Connect", router_pb2.ConnectRequest, router_pb2.ConnectResponse
)
ATTACH = Method("/pdmesh.fleet.v1.FleetService/Attach", fleet_pb2.AttachRequest, fleet_pb2.AttachResponse)
