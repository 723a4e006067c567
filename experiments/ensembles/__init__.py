"""The same trained models, assembled in every way, at several margins."""
