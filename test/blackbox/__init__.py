"""Black-box tests of the built server: only its HTTP face, its logs and its processes are looked at."""
