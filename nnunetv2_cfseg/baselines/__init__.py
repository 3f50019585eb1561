"""Networks of other libraries as nnU-Net trainers, for comparison.

docs/how-to/add-a-baseline.md says how to add one.
"""
