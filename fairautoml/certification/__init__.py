"""Certificates: constraints tested on rows that training has not seen."""
