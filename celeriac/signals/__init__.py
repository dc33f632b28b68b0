"""The bus that carries hints and signals between processes."""
