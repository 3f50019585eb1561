"""Whole-volume prediction."""
