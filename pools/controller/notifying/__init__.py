"""Notes to people: what is worth one, the messages made of it, and their delivery."""
