"""Processes that end with the one that started them, and the memory that they may take."""
