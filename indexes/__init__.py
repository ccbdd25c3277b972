"""Vectors in, neighbours out: FAISS, DuckDB and files on disk. Knows no model."""
