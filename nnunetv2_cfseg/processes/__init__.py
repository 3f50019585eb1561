"""Starts processes that end with the one that started them, and checks that there is memory for them."""
