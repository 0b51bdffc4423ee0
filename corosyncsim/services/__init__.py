"""What stands on a simulated ring: the real executive, its engines behind real link frames, and programs that use them."""
