"""Files: written whole or not at all, read with care, and named so that every disk takes them."""
