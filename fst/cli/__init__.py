"""The commands: flags made from signatures, and Hydra's entry points for training."""
