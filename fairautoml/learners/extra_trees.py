"""Extremely randomized trees: random thresholds, no bootstrap by default."""

from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor

from fairautoml.learners._forest import forest_learner

LEARNER = forest_learner("extra_trees", ExtraTreesClassifier, ExtraTreesRegressor)
