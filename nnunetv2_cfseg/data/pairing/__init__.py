"""Pairs of thin scans and thick annotations on one grid."""
