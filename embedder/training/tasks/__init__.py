"""What encoders and heads are fine-tuned for, one file a task."""
