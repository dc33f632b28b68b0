"""Where promises are kept: the stores."""
