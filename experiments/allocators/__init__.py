"""Allocators on made-up worlds and a simulated clock."""
