"""The demo model: corpus generator, tokenizer builder, training and evaluation of ``models/demo``."""
