"""harakapy: an extensible mail transfer agent."""
