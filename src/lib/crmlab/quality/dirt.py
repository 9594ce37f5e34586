"""How much of the dirt that was planted in the demo the quality checks find."""
