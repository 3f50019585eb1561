"""One HTML page that shows an evaluation: tables, charts, and the scans themselves."""
