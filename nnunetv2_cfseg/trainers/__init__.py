"""nnU-Net trainers; found by name through the folder that ``cfseg env`` names."""
