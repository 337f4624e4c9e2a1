"""What the networks learn from: targets of a sample."""
