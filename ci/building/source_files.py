"""Files of the repository that each step reads, and its folders of tests."""

# What a model is trained from, and what the image is built from. One's own data is a CSV file beside
# pyproject.toml or in data/.
MODEL_FILES = ["app", "data", "features", "pyproject.toml", "train_model.py", "training", "*.csv"]
IMAGE_FILES = [*MODEL_FILES, ".dockerignore", "Dockerfile", "docker", "requirements-uv.txt"]
TEAM_PACKAGES = ["docker/runtime_tree.py", "docker/shared_libraries.py", "features/requirements.txt"]
PACKAGE_FILES = ["Dockerfile", "app/requirements.txt", "app/requirements-full.txt", "requirements-uv.txt"]
PACKAGE_FILES += TEAM_PACKAGES
SCORER_FILES = [
    "Dockerfile",
    "app/modelling/portable/*.c",
    "docker/compile_scorer.py",
    "docker/requirements.txt",
]
CHECKED_FILES = [".ci", ".github", "bench", "ci", "dagger.json", "daggerw", "deploy", "pytest.ini", "tests"]
CHECKED_FILES += [".gitignore", "*.md", "docs", "engine", "requirements-*.in", "requirements-*.txt"]
SOURCE = ["*", *(f"!{path}" for path in (*IMAGE_FILES, *CHECKED_FILES))]
SOURCE += ["ci/sdk", "**/*.so", "**/__pycache__", "**/.venv", "**/.*_cache", "**/gha-creds-*.json"]

# What proves the machinery, in two halves that run side by side; the first needs no more than these files.
# Everything else in tests/ is the team's, and what a release depends on.
SERVICE_TESTS = ["tests/service", "tests/training"]
REPOSITORY_TESTS = ["tests/bench", "tests/ci", "tests/docker", "tests/docs", "tests/repository"]
HOST_TESTS = ["tests/browser", "tests/host", "tests/monitoring"]
LONGER_TESTS = ["tests/kubernetes"]  # by a command that CONTRIBUTING.md names
MACHINERY_TESTS = [*SERVICE_TESTS, *REPOSITORY_TESTS, *HOST_TESTS, *LONGER_TESTS]
