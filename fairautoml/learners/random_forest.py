"""A random forest: trees on bootstrap samples."""

from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

from fairautoml.learners._forest import forest_learner

LEARNER = forest_learner("random_forest", RandomForestClassifier, RandomForestRegressor)
