"""Storage between calls: layers, images (Buildah's and packed ones), and the cache folder."""
