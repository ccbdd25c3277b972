"""Training of encoders and heads: one loop, and what each task brings to it."""
