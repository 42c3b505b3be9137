"""One module per family of tasks; each builds scenes from a random generator."""
