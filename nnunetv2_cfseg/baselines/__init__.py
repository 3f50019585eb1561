"""Networks of other libraries as nnU-Net trainers, to compare with.

docs/how-to/add-a-baseline.md says how to add one.
"""
