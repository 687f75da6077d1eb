"""The nouns everybody shares. Frozen dataclasses, no input or output."""
