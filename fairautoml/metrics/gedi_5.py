"""GeDI of degree 5: the sum of the absolute coefficients of a polynomial of a number such as age.

The number is in standard deviations of the rows of ``fit``; 0 is no dependence that a polynomial
of degree 5 can describe.
"""

from fairautoml.metrics._gedi import gedi_metric

METRIC = gedi_metric("gedi_5", degree=5)
