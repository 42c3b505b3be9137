"""The REST APIs: URLs, bodies, answers and errors of OpenAI's and Anthropic's interfaces."""
