"""nnU-Net planners; nnU-Net finds none outside its own package, so ``cfseg plan_and_preprocess`` calls them."""
