"""Quantities of segmentations, in millilitres and millimetres, without a reference."""
