"""Head-to-head benchmarks: a matrix of trainers, plans, folds and seeds, each cell run by nnU-Net's own means."""
