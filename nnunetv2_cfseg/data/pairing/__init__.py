"""Makes datasets of pairs: thin scans and thick annotations on the same grid."""
