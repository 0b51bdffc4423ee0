"""Log lines in the stock format or JSON, written by a process of their own."""
