"""The public gRPC API: `pdmesh.inference.v1` in and out, the pipeline in between."""

from services.gateway.inference.server import InferenceServer

__all__ = ["InferenceServer"]
