"""Two evaluations side by side: paired tests, intervals and a page."""
