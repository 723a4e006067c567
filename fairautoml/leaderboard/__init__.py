"""Results in order, the Pareto front, and the rules of choice."""

from fairautoml.leaderboard.board import Leaderboard
from fairautoml.leaderboard.choice import best_of, order, pareto_front

__all__ = ["Leaderboard", "best_of", "order", "pareto_front"]
