"""Many pictures and videos, one after the other; a failure does not stop the rest."""
