"""What OpenCLAP published: its networks rebuilt from their description, and the way in for its checkpoints."""
