"""How predictions are judged."""
