from sklearn.tree import DecisionTreeClassifier

from fairautoml.learners import Learner


def build(params, feature_schema, seed):
    """Return an unfitted classifier; X holds numbers, category codes, and NaN for missing."""
    return DecisionTreeClassifier(**params, random_state=seed)


SPACE = """
params:
  min_samples_leaf: {type: integer, low: 5, high: 200, log: true, default: 20}
  criterion: {type: choice, values: [gini, log_loss], default: gini}
"""
LEARNER = Learner(name="small_tree", build=build, space=SPACE)
