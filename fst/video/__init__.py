"""Video files and cameras: read, filtered, written, shown live."""
