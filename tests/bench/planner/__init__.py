"""How well the planner predicts (docs/validation.md), and what it says of a 70B (docs/study-70b.md)."""
