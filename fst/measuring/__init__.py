"""Measurements of models: speed, artefacts, stability, evaluation, comparison."""
