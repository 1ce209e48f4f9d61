"""The team's own code: transformers and functions that make_model() uses, in training and in the image.

It may import installed libraries, `app` and `features`; the image has nothing else of this repository. Its
tests are in tests/features/.
"""
