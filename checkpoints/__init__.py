"""Released models: each a safetensors file, loaded by name."""
