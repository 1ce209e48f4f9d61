"""The rules are valid, and each is held by a unit test of promtool's that fails without it."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.monitoring.programs import needed, run
from tests.monitoring.psi import psi

pytestmark = needed
MONITORING = Path(__file__).resolve().parents[2] / "deploy/monitoring"
RULES = ("rules.yml", "no-traffic.yml")
TESTS = sorted((MONITORING / "tests").glob("*.yml"))

Rule = dict[str, Any]


def mutations() -> Iterator[Any]:
    """Yield the place of each rule with one thing that can be taken away from it."""
    for name in RULES:
        for group in groups(MONITORING / name):
            for number, rule in enumerate(group["rules"]):
                for what in parts(rule):
                    title = f"{rule.get('alert') or rule['record']}, {number}, {what}"
                    yield pytest.param(name, group["name"], number, what, id=title)


def groups(path: Path) -> list[dict[str, Any]]:
    """Return a file's groups; each has its unit tests in the file of its name."""
    found: list[dict[str, Any]] = yaml.safe_load(path.read_text())["groups"]
    return found


def parts(rule: Rule) -> list[str]:
    """Return what of a rule can be left out: all of it, how long it has to last, or a condition."""
    conditions = [line for line in rule["expr"].splitlines() if line.startswith("and ")]
    return ["all", *(["for"] if "for" in rule else []), *conditions]


def without(rules: list[Rule], number: int, what: str) -> None:
    """Leave something out of a rule."""
    if what == "all":
        del rules[number]
    elif what == "for":
        del rules[number]["for"]
    else:
        rules[number]["expr"] = rules[number]["expr"].replace(what, "")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Return a folder with a copy of the rules and their tests, as promtool has paths relative to these."""
    (tmp_path / "tests").mkdir()
    for path in (*(MONITORING / name for name in RULES), *TESTS):
        (tmp_path / path.relative_to(MONITORING)).write_text(path.read_text())
    return tmp_path


def test_promtool_finds_the_rules_valid() -> None:
    assert "SUCCESS: 1 rules found" in run(
        "promtool", "check", "rules", *(str(MONITORING / each) for each in RULES)
    )


def test_promtool_finds_the_configuration_valid() -> None:
    assert "is valid prometheus config" in run(
        "promtool", "check", "config", str(MONITORING / "prometheus.yml")
    )


def test_promtool_finds_the_configuration_for_kubernetes_valid_but_for_the_discovery_that_debian_lacks(
    copy: Path,
) -> None:
    config = yaml.safe_load((MONITORING / "prometheus-kubernetes.yml").read_text())
    (job,) = config["scrape_configs"]
    assert [each["role"] for each in job.pop("kubernetes_sd_configs")] == ["pod"]
    (copy / "prometheus.yml").write_text(yaml.safe_dump(config))
    assert "is valid prometheus config" in run("promtool", "check", "config", str(copy / "prometheus.yml"))


def test_amtool_finds_alertmanager_s_configuration_valid() -> None:
    assert "2 receivers" in run("amtool", "check-config", str(MONITORING / "alertmanager.yml"))


def test_critical_alerts_go_to_the_pager_and_all_others_to_the_team() -> None:
    route = ["amtool", "config", "routes", "test", f"--config.file={MONITORING / 'alertmanager.yml'}"]
    for severity, receiver in (("critical", "pager"), ("warning", "team"), ("unheard-of", "team")):
        assert run(*route, f"severity={severity}").splitlines()[-1] == receiver


def test_the_rules_pass_their_unit_tests() -> None:
    assert run("promtool", "test", "rules", *map(str, TESTS)).count("SUCCESS") == len(TESTS)


@pytest.mark.parametrize(("name", "group", "number", "what"), list(mutations()))
def test_a_unit_test_fails_without_each_part_of_each_rule(
    copy: Path, name: str, group: str, number: int, what: str
) -> None:
    changed = groups(copy / name)
    without(next(each["rules"] for each in changed if each["name"] == group), number, what)
    assert changed != groups(copy / name)
    (copy / name).write_text(yaml.safe_dump({"groups": changed}, sort_keys=False))
    with pytest.raises(subprocess.CalledProcessError) as raised:
        run("promtool", "test", "rules", str(copy / f"tests/{group}.yml"))
    assert "FAILED" in raised.value.output


@pytest.mark.parametrize("bins", [1, 2, 7, 10])
@pytest.mark.parametrize("old", [True, False], ids=["older than the hour", "younger"])
def test_the_population_stability_index_is_that_of_the_reference(copy: Path, bins: int, old: bool) -> None:
    chance = random.Random(bins)
    minutes, started = (90, 0) if old else (30, 0)
    rates = [chance.choice([0, 1, 40, 300]) for _ in range(bins - 1)] + [200]
    weights = [chance.random() for _ in range(bins)]
    learned = [round(weight / sum(weights), 6) for weight in weights]
    expected = psi([rate * min(minutes, 60) for rate in rates], learned)
    us = 'namespace="production", job="milestone2", instance="a"'
    series = {
        f'model_info{{{us}, version="v1.0.0"}}': f"1x{minutes}",
        f"process_start_time_seconds{{{us}}}": f"{started}x{minutes}",
    }
    for number, (rate, share) in enumerate(zip(rates, learned, strict=True)):
        where = f'{us}, feature="age", bin="{number}"'
        series[f"input_bin_total{{{where}}}"] = f"0+{rate}x{minutes}"
        series[f"input_bin_share{{{where}}}"] = f"{share}x{minutes}"
    test = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {
                "expr": f"count(abs(model:input:psi1h - {expected!r}) < 1e-9)",
                "eval_time": f"{minutes}m",
                "exp_samples": [{"labels": "{}", "value": 1}],
            }
        ],
    }
    path = copy / "tests" / "psi.yml"
    path.write_text(
        yaml.safe_dump({"rule_files": ["../rules.yml"], "evaluation_interval": "1m", "tests": [test]})
    )
    assert "SUCCESS" in run("promtool", "test", "rules", str(path))
