"""Super-resolution with a trained network: pictures and videos in, larger ones out."""
