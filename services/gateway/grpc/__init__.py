"""The public gRPC API: `pdmesh.inference.v1` in and out, the pipeline in between."""

from services.gateway.grpc.server import InferenceServer
from services.gateway.grpc.servicer import InferenceServicer

__all__ = ["InferenceServer", "InferenceServicer"]
