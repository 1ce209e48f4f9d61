"""Parser of command lines: flags, values, defaults, and every refusal before anything starts."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from daggerw_engine.command.arguments.parsing import (
    FunctionCall,
    Level,
    Parsed,
    check,
    functions,
    parse,
    peek,
)
from daggerw_engine.command.arguments.values import Host, Loaded, read
from daggerw_engine.command.modules import module
from daggerw_engine.command.modules.typedefs import Argument, Catalogue, Function, TypeRef, command_name
from daggerw_engine.errors import NotOfferedError, UsageError


def calls(words: str, catalogue: Catalogue, example: Path, **environment: str) -> list[FunctionCall]:
    parsed = parse(words.split(), catalogue, {}, "daggerw call")
    return check(parsed, module.load(example), catalogue, Host(example, environment))


@pytest.mark.parametrize(
    ("name", "spelled"),
    [
        ("withExec", "with-exec"),
        ("with_exec", "with-exec"),
        ("e2e", "e-2-e"),
        ("HTTPServer", "http-server"),
        ("asTarball", "as-tarball"),
        ("sha256sum", "sha-256-sum"),
    ],
)
def test_names_are_spelled_as_dagger_spells_them(name: str, spelled: str) -> None:
    assert command_name(name) == spelled


@pytest.mark.parametrize(
    "words",
    [
        "greet --name you --times 2 --loud",
        "greet --name=you --times=2 --loud=true",
        "greet --Name you --times=+2 --loud=1",
    ],
)
def test_flags_take_their_text_behind_a_space_or_an_equals_sign(
    words: str, catalogue: Catalogue, example: Path
) -> None:
    assert calls(words, catalogue, example)[-1].inputs == {"name": "you", "times": 2, "loud": True}


def test_the_last_text_of_a_flag_counts(catalogue: Catalogue, example: Path) -> None:
    assert calls("greet --name a --name b", catalogue, example)[-1].inputs == {"name": "b"}


def test_a_flag_may_be_spelled_as_in_the_code(catalogue: Catalogue, example: Path) -> None:
    given = calls("e2e --token env:T --timeoutSeconds 4", catalogue, example, T="x")[-1].inputs
    assert given["timeout_seconds"] == 4


def test_a_list_takes_commas_and_repeated_flags(catalogue: Catalogue, example: Path) -> None:
    assert calls("total --numbers 1,2 --numbers 3", catalogue, example)[-1].inputs == {"numbers": [1, 2, 3]}


def test_options_are_taken_on_every_level(catalogue: Catalogue) -> None:
    parsed = parse(["-q", "greet", "--name", "x", "-o", "out", "--json"], catalogue, {}, "daggerw call")
    assert parsed.options == {"quiet": ["true"], "output": ["out"], "json": ["true"]}


def test_a_text_that_looks_like_a_flag_is_still_its_flags(catalogue: Catalogue) -> None:
    parsed = parse(["greet", "--name", "-h"], catalogue, {}, "daggerw call")
    assert (parsed.options, parsed.levels[-1].given) == ({}, {"name": ["-h"]})


@pytest.mark.parametrize("words", ["-m there call", "call --mod=there f", "call -mthere", "call --mod there"])
def test_the_module_is_found_wherever_it_is_named(words: str) -> None:
    assert peek(words.split(), "mod") == "there"


def test_a_default_path_is_the_modules_root_without_what_it_ignores(
    catalogue: Catalogue, example: Path
) -> None:
    loaded = calls("words", catalogue, example)[0].inputs["source"]
    assert loaded == Loaded("Directory", {"path": str(example), "exclude": ["*", "!source"]})


def test_a_given_path_is_the_callers_and_ignores_the_same(catalogue: Catalogue, example: Path) -> None:
    loaded = calls("--source source words", catalogue, example)[0].inputs["source"]
    assert loaded == Loaded("Directory", {"path": str(example / "source"), "exclude": ["*", "!source"]})


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("String", "a,b", "a,b"),
        ("Int", "-3", -3),
        ("Float", "1e3", 1000.0),
        ("Boolean", "F", False),
        ("Speed", "fast", "FAST"),
        ("NetworkProtocol", "udp", "UDP"),
        ("Platform", "linux/arm64", "linux/arm64"),
        ("PortForward", "8080:80", {"frontend": 8080, "backend": 80}),
        ("BuildArg", "A=b=c", {"name": "A", "value": "b=c"}),
        ("CacheVolume", "pip", Loaded("CacheVolume", {"key": "pip"})),
        ("Container", "debian:12", Loaded("Container", {"address": "debian:12"})),
        ("Secret", "env:TOKEN", Loaded("Secret", {"uri": "env://TOKEN"})),
        ("Secret", "TOKEN", Loaded("Secret", {"uri": "env://TOKEN"})),
        ("Secret", "cmd://pass x?", Loaded("Secret", {"uri": "cmd://pass x?"})),
        ("Secret", "env://TOKEN?cacheKey=k", Loaded("Secret", {"uri": "env://TOKEN", "cacheKey": "k"})),
    ],
)
def test_a_text_becomes_the_value_of_its_type(
    kind: str, text: str, value: object, catalogue: Catalogue, tmp_path: Path
) -> None:
    assert read(Argument("it", TypeRef(kind)), [text], catalogue, Host(tmp_path, {"TOKEN": "x"})) == value


@pytest.mark.parametrize(
    ("text", "host", "protocol"),
    [
        ("tcp://db:5432", "db", "TCP"),
        ("udp://10.0.0.1:5432", "10.0.0.1", "UDP"),
        ("tcp://[::1]:5432", "::1", "TCP"),
    ],
)
def test_a_service_is_an_address_with_a_port(
    text: str, host: str, protocol: str, catalogue: Catalogue, tmp_path: Path
) -> None:
    loaded = read(Argument("it", TypeRef("Service")), [text], catalogue, Host(tmp_path, {}))
    ports = [{"frontend": 5432, "backend": 5432, "protocol": protocol}]
    assert loaded == Loaded("Service", {"host": host, "ports": ports})


@pytest.mark.parametrize("text", ["it.sock", "unix://it.sock"])
def test_a_socket_is_its_path(text: str, catalogue: Catalogue, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(tmp_path / "it.sock"))
        loaded = read(Argument("it", TypeRef("Socket")), [text], catalogue, Host(tmp_path, {}))
    assert loaded == Loaded("Socket", {"path": str(tmp_path / "it.sock")})


@pytest.mark.parametrize(
    ("kind", "text", "variables"),
    [
        ("GitRepository", "here", {}),
        ("GitRef", "here", {"ref": "HEAD"}),
        ("GitRef", "file://here#v1.0", {"ref": "v1.0"}),
    ],
)
def test_a_git_repository_is_a_folder(
    kind: str, text: str, variables: dict[str, str], catalogue: Catalogue, tmp_path: Path
) -> None:
    (tmp_path / "here").mkdir()
    loaded = read(Argument("it", TypeRef(kind)), [text], catalogue, Host(tmp_path, {}))
    assert loaded == Loaded(kind, {"path": str(tmp_path / "here"), **variables})


@pytest.mark.parametrize(
    ("kind", "text", "what"),
    [
        ("Directory", "https://host.example/repo", "a remote Directory"),
        ("GitRepository", "git@host.example:repo", "a remote GitRepository"),
        ("Secret", "vault://path/to.key", "a secret of the provider 'vault'"),
    ],
)
def test_what_only_the_dagger_engine_can_load_is_refused_by_name(
    kind: str, text: str, what: str, catalogue: Catalogue, tmp_path: Path
) -> None:
    with pytest.raises(NotOfferedError, match=rf"{what} .*--it.* isn't offered by the embedded engine"):
        read(Argument("it", TypeRef(kind)), [text], catalogue, Host(tmp_path, {}))


def test_what_may_be_a_secret_given_by_mistake_is_not_shown(catalogue: Catalogue, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r'invalid argument for "--it": no such environment variable'
    ) as refused:
        read(Argument("it", TypeRef("Secret")), ["hunter2"], catalogue, Host(tmp_path, {}))
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("option", ["--interactive", "-i", "--debug", "--workdir=x"])
def test_daggers_other_options_are_refused_by_name(option: str, catalogue: Catalogue) -> None:
    with pytest.raises(NotOfferedError, match=f"option {option.partition('=')[0]} isn't offered"):
        parse([option, "words"], catalogue, {}, "daggerw call")


@pytest.mark.parametrize(
    ("kind", "text", "why"),
    [
        ("Int", "1.5", "expected a whole number"),
        ("Int", "1_0", "expected a whole number"),
        ("Float", "nan", "expected a finite number"),
        ("Float", "much", "expected a finite number"),
        ("Boolean", "yes", "expected true or false"),
        ("Speed", "fastest", "expected one of SLOW, FAST"),
        ("PortForward", "8080", "expected FRONTEND:BACKEND"),
        ("PortForward", "8080:70000", "'70000' is not a port"),
        ("BuildArg", "=b", "expected NAME=VALUE"),
        ("Directory", "nowhere", "no such folder: '.*/nowhere'"),
        ("File", "nowhere", "no such file: '.*/nowhere'"),
        ("GitRepository", "nowhere", "no such folder: '.*/nowhere'"),
        ("Secret", "env:UNSET", "no such environment variable; expected env://NAME, file://PATH"),
        ("Secret", "file:nowhere", "no such file"),
        ("Service", "db:5432", "expected tcp://HOST:PORT"),
        ("Service", "http://db:5432", "expected tcp://HOST:PORT"),
        ("Socket", "/etc", "no such socket: '/etc'"),
    ],
)
def test_a_text_that_is_no_value_is_refused_with_its_flag(
    kind: str, text: str, why: str, catalogue: Catalogue, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=rf'invalid argument .*for "--it": .*{why}'):
        read(Argument("it", TypeRef(kind)), [text], catalogue, Host(tmp_path, {}))


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("gret", "unknown command 'gret' for 'daggerw call'; did you mean greet"),
        ("sources entris", "unknown command 'entris' for 'daggerw call sources'; did you mean entries"),
        ("words more", "unknown command 'more': 'daggerw call words' gives no object to go on with"),
        ("greet --nam you", "unknown flag: --nam; did you mean --name"),
        ("greet --times 1", "required flag.s. --name not set"),
        ("greet --name", "flag needs an argument: --name"),
        ("-x greet", "unknown shorthand flag: 'x' in -x"),
        ("--source nowhere words", 'invalid argument .nowhere. for "--source": no such folder'),
    ],
)
def test_words_that_cannot_be_meant_are_refused(
    words: str, why: str, catalogue: Catalogue, example: Path
) -> None:
    with pytest.raises(UsageError, match=why):
        calls(words, catalogue, example)


def test_the_engines_functions_are_called_as_the_modules(catalogue: Catalogue, example: Path) -> None:
    made = calls("sources with-new-file --path a --contents b entries", catalogue, example)
    assert [(call.owner.name, call.function.name) for call in made] == [
        ("Example", ""),
        ("Example", "sources"),
        ("Directory", "withNewFile"),
        ("Directory", "entries"),
    ]


def test_what_no_flag_can_spell_is_not_offered(catalogue: Catalogue) -> None:
    query = catalogue.object("Query")
    assert query is not None
    assert "node" in query.functions
    assert "node" not in functions(query, catalogue)


def test_where_there_is_no_git_a_repository_that_may_be_missing_is_null(
    catalogue: Catalogue, example: Path
) -> None:
    found = module.load(example)
    git = Argument("git", TypeRef("GitRepository", optional=True), default_path="/")
    function = Function("commit", TypeRef("String"), arguments=(git,))
    parsed = Parsed("daggerw call", {}, [Level(catalogue.main, function, {})])
    assert check(parsed, found, catalogue, Host(example, {}))[0].inputs == {}


def test_an_argument_that_is_not_given_comes_from_the_users_file(
    catalogue: Catalogue, example: Path, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("EXAMPLE_GREET_NAME=you\n")
    host = Host(tmp_path, {})
    parsed = parse(["greet"], catalogue, {}, "daggerw call")
    assert check(parsed, module.load(example), catalogue, host)[-1].inputs["name"] == "you"
    named = parse(["greet", "--name", "me"], catalogue, {}, "daggerw call")
    assert check(named, module.load(example), catalogue, host)[-1].inputs["name"] == "me"
