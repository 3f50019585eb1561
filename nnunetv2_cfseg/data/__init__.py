"""Makes datasets: pairs of thin scans and thick annotations, and phantoms."""
