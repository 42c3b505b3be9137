"""Programs that other people wrote, unchanged, in conversations whose model is scripted."""
