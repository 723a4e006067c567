"""From the pool of trained models to the final classifier."""

from fairautoml.assembly.classifier import FairClassifier

__all__ = ["FairClassifier"]
