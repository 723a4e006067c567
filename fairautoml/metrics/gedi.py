"""GeDI of degree 1: acceptance gained or lost per standard deviation of a number such as age.

``|cov(x, d)| / var(x)`` with x in standard deviations of the rows of ``fit`` and d the decision;
0 is no linear dependence. A dependence that is not linear (the young and the old refused alike)
is not seen; ``gedi_2`` and higher degrees see it.
"""

from fairautoml.metrics._gedi import gedi_metric

METRIC = gedi_metric("gedi", degree=1)
