"""Storage between calls: layers, images (Buildah's and packed ones), and the folder that holds all."""
