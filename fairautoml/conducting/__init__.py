"""How a fit goes, from rows and wishes to a certificate."""
