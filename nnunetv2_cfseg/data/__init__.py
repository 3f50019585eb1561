"""What happens to scans before and around the network."""
