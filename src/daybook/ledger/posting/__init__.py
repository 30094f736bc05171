"""Posting: what each kind of request does to the book, every rule in its order."""
