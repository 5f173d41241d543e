"""Decodes pictures, with Pillow."""
