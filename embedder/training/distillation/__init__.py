"""Distillation: a network with fewer layers that gives what its teacher gives."""
