"""OpenAI's Responses API: bodies in, bodies and server-sent events out, and the responses that are kept."""
