"""From a candidate to fitted folds, out-of-fold scores and scored rules."""
