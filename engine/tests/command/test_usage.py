"""Help pages and lists of the command line."""

from __future__ import annotations

import pytest

from daggerw_engine.command.arguments import usage
from daggerw_engine.command.arguments.parsing import functions, parse
from daggerw_engine.command.modules.typedefs import Catalogue


@pytest.fixture(autouse=True)
def _wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")


def page(words: str, catalogue: Catalogue) -> str:
    return usage.format_page(parse(words.split(), catalogue, {}, "daggerw call"), catalogue)


def test_a_functions_page_shows_its_flags_with_types_and_defaults(catalogue: Catalogue) -> None:
    assert page("greet", catalogue) == (
        "Greet a person.\n"
        "\n"
        "As often as wanted.\n"
        "\n"
        "USAGE\n"
        "  daggerw call greet [arguments]\n"
        "\n"
        "ARGUMENTS\n"
        "      --name string       Whom to greet [required]\n"
        "      --loud              In capitals\n"
        "      --speed SLOW,FAST   How fast to speak (default SLOW)\n"
        "      --times int         How often (default 1)\n"
    )


def test_the_first_page_shows_functions_constructor_arguments_and_options(catalogue: Catalogue) -> None:
    text = page("", catalogue)
    assert "USAGE\n  daggerw call [options] [arguments] <function>\n" in text
    assert "FUNCTIONS\n  ask " in text
    assert "\n  e-2-e     Need a secret.\n" in text
    assert 'ARGUMENTS\n      --greeting string    What to say first (default "hello")\n' in text
    assert '--source Directory   Where the sources are (default "/")\n' in text
    assert "OPTIONS\n  -y, --auto-apply " in text


def test_an_engine_objects_functions_are_shown_behind_the_function_that_gives_it(
    catalogue: Catalogue,
) -> None:
    text = page("sources", catalogue)
    assert "USAGE\n  daggerw call sources <function>\n" in text
    assert "\n  export " in text
    assert "\n  id " not in text


def test_lists_name_what_they_hold(catalogue: Catalogue) -> None:
    assert "--numbers ints   [required]" in page("total", catalogue)


def test_long_descriptions_are_wrapped_to_the_terminal(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    assert (
        "  -m, --mod string        Folder of the module, instead of\n"
        "                          the nearest dagger.json's\n"
    ) in page("", catalogue)


def test_functions_lists_names_and_first_lines(catalogue: Catalogue) -> None:
    lines = usage.format_list(functions(catalogue.module.objects["Step"], catalogue)).splitlines()
    assert lines == ["Name    Description", "shout   The title, loudly.", "title   -"]
