"""What nnU-Net writes, read without importing nnU-Net: ``dataset.json``, plans, checkpoints and summaries."""
