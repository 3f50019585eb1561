"""What a segmentation says in numbers: volumes, lesions, diameters, sides, changes over time, and surfaces."""
