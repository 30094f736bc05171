"""The proof: what is kept beside the journal, compared with it and mended from it."""
