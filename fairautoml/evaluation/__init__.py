"""Cross-validation of configurations, and scoring of their post-processed rules."""
