"""Makes head CTs with haemorrhages from a seed: an anatomy in mm, lesions in it, and a scanner."""
