"""The public gRPC API: `pdmesh.inference.v1` in and out, the pipeline in between."""

from services.gateway.inference.server import InferenceServer
from services.gateway.inference.servicer import InferenceServicer

__all__ = ["InferenceServer", "InferenceServicer"]
