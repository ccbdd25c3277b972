"""Heads: what turns a model's states into answers, such as a label or a tag for each word."""
