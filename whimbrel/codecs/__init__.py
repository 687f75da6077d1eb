"""Row and log codecs on byte buffers. Each is one file in Cython's pure-Python mode: compiled where a compiler is at
hand, plain Python otherwise, with the same results."""
