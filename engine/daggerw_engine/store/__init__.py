"""What is kept between calls: Buildah's images, results, and the folder that holds all."""
