"""What is measured of segmentations, and how it is shown."""
