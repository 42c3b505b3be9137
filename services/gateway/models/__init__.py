"""The models that can be asked for: their names, tokenizers, chat templates and parsers."""
