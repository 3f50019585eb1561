"""Head CTs with haemorrhages, made from a seed: an anatomy in mm, lesions placed in it, and a scanner."""
