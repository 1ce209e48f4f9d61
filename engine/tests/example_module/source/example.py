"""Example module with one function for every kind of argument, result and failure in the tests."""

import asyncio
import enum
from typing import Annotated, Self

import dagger
from dagger import DefaultPath, Doc, Ignore, check, dag, field, function, object_type


@dagger.enum_type
class Speed(enum.Enum):
    """Speed of speech."""

    SLOW = "slow"
    FAST = "fast"


@object_type
class Step:
    """One step of a plan."""

    title: str = field()

    @function
    def shout(self) -> str:
        """The title, loudly."""
        return self.title.upper()


@object_type
class Example:
    """Functions of every shape."""

    source: Annotated[
        dagger.Directory, DefaultPath("/"), Ignore(["*", "!source"]), Doc("Where the sources are")
    ]
    greeting: Annotated[str, Doc("What to say first")] = "hello"

    @function
    def greet(
        self,
        name: Annotated[str, Doc("Whom to greet")],
        times: Annotated[int, Doc("How often")] = 1,
        loud: Annotated[bool, Doc("In capitals")] = False,
        speed: Annotated[Speed, Doc("How fast to speak")] = Speed.SLOW,
    ) -> str:
        """Greet a person.

        As often as wanted.
        """
        print("printed by the module")
        text = f"{self.greeting} {name} {speed.name}" * times
        return text.upper() if loud else text

    @function
    def total(self, numbers: list[int], factor: float | None = None) -> float:
        """Add numbers up."""
        return sum(numbers) * (factor or 1.0)

    @function
    def words(self) -> list[str]:
        """Return two words."""
        return [self.greeting, "world"]

    @function
    def twice(self) -> Self:
        """Say the greeting twice."""
        self.greeting += self.greeting
        return self

    @function
    def plan(self) -> list[Step]:
        """Return two steps."""
        # mypy does not see the constructor that the decorator makes.
        return [Step(title="build"), Step(title="push")]  # type: ignore[call-arg]

    @function
    def sources(self) -> dagger.Directory:
        """Return the sources."""
        return self.source

    @function
    def change(self, text: str) -> dagger.Changeset:
        """Return the sources' changes when their settings are another text."""
        return self.source.with_new_file("source/pyproject.toml", text).changes(self.source)

    @function
    def run(self, root: dagger.Directory, command: list[str]) -> dagger.Container:
        """Run a command in a container with this file system."""
        return dag.container().with_directory("/", root).with_exec(command)

    @function
    def serving(self, root: dagger.Directory) -> dagger.Service:
        """Serve what the file system's serve.pl does on port 80."""
        container = dag.container().with_directory("/", root).with_exposed_port(80)
        return container.as_service(args=["perl", "/serve.pl"])

    @function
    def ask(self, root: dagger.Directory) -> dagger.Container:
        """Run the file system's ask.pl beside a service named "served"."""
        container = dag.container().with_directory("/", root)
        return container.with_service_binding("served", self.serving(root)).with_exec(["perl", "/ask.pl"])

    @function
    def image(self, address: str) -> dagger.Container:
        """Return an image."""
        return dag.container().from_(address)

    @function
    async def commit(self, at: Annotated[dagger.GitRepository, DefaultPath("/")]) -> str:
        """Return the commit that is checked out."""
        return await at.head().commit()

    @function
    async def tagged(self, at: dagger.GitRef) -> str:
        """Return a commit."""
        return await at.commit()

    @function
    def reach(self, served: dagger.Service, root: dagger.Directory) -> dagger.Container:
        """Run the file system's ask.pl beside this service."""
        container = dag.container().with_directory("/", root)
        return container.with_service_binding("served", served).with_exec(["perl", "/ask.pl"])

    @function
    async def peek(self, uri: str) -> str:
        """Read a secret by its URI."""
        return await dag.secret(uri).plaintext()

    @function
    async def leak(self, token: dagger.Secret) -> str:
        """Print a secret, and raise it."""
        text = await token.plaintext()
        print("printed", text)
        raise ValueError(f"printed {text}")

    @function
    async def fail(self, root: dagger.Directory) -> str:
        """Run a command that fails."""
        container = dag.container().with_directory("/", root)
        return await container.with_exec(["sh", "-c", "echo out; echo err >&2; exit 42"]).stdout()

    @function
    def nothing(self) -> None:
        """Do nothing."""

    @function
    async def e2e(self, token: dagger.Secret, timeout_seconds: int = 3) -> str:
        """Need a secret."""
        return await token.plaintext()

    @function
    async def beyond(self) -> str:
        """Use a part of the API that only the Dagger engine has."""
        return await dag.container().publish("example.test/image")

    @function
    @check
    async def holds(self) -> None:
        """Hold."""

    @function
    @check
    def breaks(self) -> str:
        """Break."""
        raise ValueError("it broke")

    @function
    def explode(self) -> str:
        """Fail."""
        raise ValueError("the tank is empty")

    @function
    async def wait(self) -> str:
        """Never come back."""
        print("waiting")
        await asyncio.Event().wait()
        return "never"

    @function
    def vanish(self) -> str:
        """End the process that runs this module."""
        raise SystemExit(3)
