"""A page that stylizes in the browser: models, thumbnails and a runtime in a folder of files."""
