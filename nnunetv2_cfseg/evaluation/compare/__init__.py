"""Compare evaluations of the same cases: paired tests, intervals and tables."""
