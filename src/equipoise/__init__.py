"""Equipoise: put a language model on an even footing."""
