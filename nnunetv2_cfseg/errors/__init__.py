"""What a command says when something goes wrong."""
