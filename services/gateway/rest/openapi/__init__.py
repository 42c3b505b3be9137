"""The description of the REST API, made from what the API itself is made from."""

from services.gateway.rest.openapi.document import document

__all__ = ["document"]
