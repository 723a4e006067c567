"""Predict with a model file (``model.fair``), by NumPy alone.

This package imports nothing else of the library.
"""

from fairautoml.runtime._base import ModelFileError, NewRowsError
from fairautoml.runtime._file import FORMAT, MEMBERS, load
from fairautoml.runtime._predictor import PortablePredictor

__all__ = ["FORMAT", "MEMBERS", "ModelFileError", "NewRowsError", "PortablePredictor", "load"]
