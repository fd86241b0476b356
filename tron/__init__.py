"""Tron: one hub where people and programs reach a small company of AI personas."""

__version__ = "0.1.0"
