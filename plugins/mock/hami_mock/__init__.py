"""A vendor without hardware, and a machine made of simulated NVIDIA driver libraries. Nothing heavy is imported here."""
