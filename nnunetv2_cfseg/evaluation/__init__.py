"""Measures of segmentations, statistics over cases, and reports."""
