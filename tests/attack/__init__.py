"""What one caller tries against another, and what a mesh must make of it."""
