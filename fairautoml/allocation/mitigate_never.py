"""Search only: costly mitigations are kept from the strategy, and never tried."""

from fairautoml.allocation.flat import Flat


class MitigateNever(Flat):
    """A full trial of every candidate; the baseline of comparisons between allocators.

    Parameters
    ----------
    terms : Terms
        What a trial may spend.
    """

    mitigates = True


ALLOCATOR = MitigateNever
