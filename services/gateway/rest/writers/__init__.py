"""The writers of the REST APIs: whole answers and server-sent events."""
