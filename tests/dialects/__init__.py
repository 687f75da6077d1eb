"""Statements that we send to engines which we only know by stand-ins, read by parsers that somebody else wrote."""
