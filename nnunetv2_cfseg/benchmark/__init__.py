"""Head-to-head benchmarks: a matrix of trainers, plans, folds and seeds, with each cell run by nnU-Net's commands."""
