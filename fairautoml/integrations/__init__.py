"""Callbacks that record a fit in an experiment tracker; one file per tracker."""
