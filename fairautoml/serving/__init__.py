"""What a fitted estimator does: decides new rows, is judged on them, shows itself."""
