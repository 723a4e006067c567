"""From what a user asks and rows to a problem: wishes checked, the goal, guessed groups."""
