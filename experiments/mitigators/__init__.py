"""Mitigators of this library and of others above the same model, over their strengths."""
