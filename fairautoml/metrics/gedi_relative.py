"""GeDI of degree 1 of the decisions over that of the labels: how much of their slope is left.

1 = decisions depend on the number as much as the labels do, 0 = not at all. Free of the unit.
Undefined where the labels do not depend on it.
"""

from fairautoml.metrics._gedi import gedi_metric

METRIC = gedi_metric("gedi_relative", degree=1, relative=True)
