"""The sending side: from a stored message to the next hop, and reports to its sender."""
