"""What is written beside the code agrees with it."""

from __future__ import annotations

import ast
import json
import re
from datetime import date
from fnmatch import fnmatchcase
from importlib.resources import files
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import pytest
import yaml
from documents import DOCUMENTS, block, section, text_of
from importlinter.api import read_configuration
from jsonschema import Draft7Validator, Draft202012Validator
from warehouses.recipes import RECIPES

from tap_nexudus_usage.nexudus.entities import ALLOWANCES, ENTITIES, Entity
from tap_nexudus_usage.settings.declared import PROPERTIES
from tap_nexudus_usage.singer.tap import TapNexudusUsage
from tools.settings_table import with_table
from tools.wheels import supported_pythons

ROOMS = ("nexudus", "reading", "emission", "settings", "run", "airbyte", "singer")

PROJECT = Path(__file__).parents[1]
HUB = Draft7Validator(json.loads((PROJECT / "tests/hub_extractor.schema.json").read_text("utf-8")))
KINDS = {
    "string": "string",
    "integer": "integer",
    # Meltano 4.4 has decimal, but fails on one that comes from an environment variable.
    "number": "string",
    "boolean": "boolean",
    "array": "array",
    "object": "object",
}
FOR_THE_TESTS_ONLY = {"duckdb>=1.4", "fakesnow==0.12.1"}
"""What stands beside a loader in its environment: what reads the files, and the double."""


@pytest.fixture(scope="module")
def about() -> dict[str, Any]:
    info = TapNexudusUsage._get_about_info()
    return {
        "settings": info.settings["properties"],
        "capabilities": [capability.value for capability in info.capabilities],
    }


def read_yaml(name: str) -> Any:
    return yaml.safe_load((PROJECT / name).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def meltano_yml() -> Any:
    return read_yaml("meltano.yml")


@pytest.fixture(scope="module")
def hub_yml() -> Any:
    return read_yaml("plugins/extractors/tap-nexudus-usage.yml")


@pytest.fixture(scope="module")
def extractor(meltano_yml: dict[str, Any]) -> Any:
    (extractor,) = meltano_yml["plugins"]["extractors"]
    return extractor


def kind_of(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return "options"
    if schema.get("format") == "date-time":
        return "date_iso8601"
    (json_type,) = (name for name in schema["type"] if name != "null")
    return KINDS[json_type]


def test_meltano_yml_has_every_setting_as_the_tap_has_it(
    about: dict[str, Any], extractor: dict[str, Any]
) -> None:
    expected = []
    for name, schema in about["settings"].items():
        setting = {
            "name": name,
            "label": schema["title"],
            "kind": kind_of(schema),
            "description": schema["description"],
        }
        if schema.get("secret"):
            setting["sensitive"] = True
        if "default" in schema:
            setting["value"] = schema["default"]
        if "enum" in schema:
            options = [{"label": value.capitalize(), "value": value} for value in schema["enum"]]
            setting["options"] = options
        expected.append(setting)

    assert extractor["settings"] == expected


def test_meltano_yml_has_the_taps_capabilities(
    about: dict[str, Any], extractor: dict[str, Any]
) -> None:
    assert sorted(extractor["capabilities"]) == sorted(about["capabilities"])


def test_meltano_yml_knows_the_three_ways_to_log_in(extractor: dict[str, Any]) -> None:
    assert extractor["settings_group_validation"] == [
        ["username", "password"],
        ["refresh_token"],
        ["access_token"],
    ]


@pytest.mark.parametrize("of", ["extractor", "hub_yml"])
def test_meltano_selects_what_the_tap_selects_by_default(
    request: pytest.FixtureRequest, of: str
) -> None:
    by_default = [f"{entity.stream}.*" for entity in ENTITIES if entity.selected_by_default]

    assert request.getfixturevalue(of)["select"] == by_default


def test_the_hubs_definition_names_the_roles(hub_yml: dict[str, Any]) -> None:
    for entity in ENTITIES:
        for role in (entity.read_role, entity.list_role):
            assert f"`{role}`" in hub_yml["prereq"]


def test_meltano_yml_is_valid_to_meltano(meltano_yml: dict[str, Any]) -> None:
    schema = files("meltano.schemas").joinpath("meltano.schema.json").read_text(encoding="utf-8")

    Draft202012Validator(json.loads(schema)).validate(meltano_yml)


def test_each_loader_has_a_job(meltano_yml: dict[str, Any]) -> None:
    tasks = [task for job in meltano_yml["jobs"] for task in job["tasks"]]

    loaders = [loader["name"] for loader in meltano_yml["plugins"]["loaders"]]
    assert tasks == [f"tap-nexudus-usage {loader}" for loader in loaders]


def test_the_loaders_are_those_that_are_tested(meltano_yml: dict[str, Any]) -> None:
    for loader in meltano_yml["plugins"]["loaders"]:
        name = loader["name"].removeprefix("target-")
        tested = (PROJECT / f"tests/warehouses/environments/{name}.in").read_text(encoding="utf-8")

        pins = [line for line in tested.splitlines() if not line.startswith("#")]
        assert set(pins) - FOR_THE_TESTS_ONLY == set(loader["pip_url"].split())


def test_the_hubs_definition_is_valid_to_the_hub(hub_yml: dict[str, Any]) -> None:
    HUB.validate(hub_yml)


@pytest.mark.parametrize(
    "spoilt",
    [
        {"variant": None},
        {"licence": "Apache-2.0"},
        {"quality": "excellent"},
        {"capabilities": ["telepathy"]},
        {"settings": [{"name": "start_date", "kind": "date"}]},
        {"settings": [{"name": "start_date", "default": "2025-01-01"}]},
        {"supported_python_versions": ["3.10+"]},
    ],
)
def test_what_the_hub_refuses_is_refused(hub_yml: dict[str, Any], spoilt: dict[str, Any]) -> None:
    assert not HUB.is_valid({**hub_yml, **spoilt})


def test_the_hubs_definition_says_what_meltano_yml_says(
    extractor: dict[str, Any], hub_yml: dict[str, Any]
) -> None:
    own = {"pip_url", "settings", "settings_group_validation"}
    shared = extractor.keys() - own

    assert {name: hub_yml[name] for name in shared} == {name: extractor[name] for name in shared}
    assert hub_yml["settings"] == sorted(extractor["settings"], key=lambda item: item["name"])
    ways_to_log_in = [sorted(names) for names in extractor["settings_group_validation"]]
    assert hub_yml["settings_group_validation"] == ways_to_log_in


def test_the_hubs_definition_is_in_the_hubs_order(hub_yml: dict[str, Any]) -> None:
    for mapping in (hub_yml, *hub_yml["settings"]):
        assert list(mapping) == sorted(mapping)
    assert hub_yml["capabilities"] == sorted(hub_yml["capabilities"])


def test_the_hubs_definition_names_the_pythons_of_the_package(hub_yml: dict[str, Any]) -> None:
    assert hub_yml["supported_python_versions"] == supported_pythons()


def test_the_workflow_tests_on_the_pythons_of_the_package() -> None:
    test = read_yaml(".github/workflows/checks.yml")["jobs"]["test"]

    assert test["strategy"]["matrix"]["python"] == supported_pythons()


def test_every_command_of_make_that_is_told_of_is_there() -> None:
    targets = set(
        re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text("utf-8"), re.MULTILINE)
    )
    jobs = read_yaml(".github/workflows/checks.yml")["jobs"].values()
    steps = [step["run"] for job in jobs for step in job["steps"] if "run" in step]
    texts = "\n".join(map(text_of, DOCUMENTS))
    told = [*steps, *re.findall(r"`(make [^`]+)`", texts)]

    assert len(steps) >= 6
    assert len(told) >= 15
    for command in told:
        make, *words = command.split()
        assert make == "make"
        assert {word for word in words if "=" not in word} <= targets, command


def test_who_reports_a_problem_is_asked_what_the_test_of_the_connection_says() -> None:
    templates = sorted(PROJECT.glob(".github/ISSUE_TEMPLATE/*.yml"))

    assert len(templates) == 2
    for template in templates:
        fields = {part.get("id"): part for part in read_yaml(str(template))["body"]}
        assert "tap-nexudus-usage --config config.json --test" in str(fields["test"])


def test_env_example_names_settings_only(about: dict[str, Any]) -> None:
    text = (PROJECT / ".env.example").read_text(encoding="utf-8")
    names = re.findall(r"^(?:# )?TAP_NEXUDUS_USAGE_(\w+)=", text, re.MULTILINE)

    assert names
    assert {name.lower() for name in names} <= about["settings"].keys()


def test_the_table_of_settings_is_up_to_date(about: dict[str, Any]) -> None:
    text = text_of("docs/settings.md")
    told = re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)

    assert text == with_table(text), "Run: make settings"
    assert told == [name for name in about["settings"] if name in PROPERTIES]
    for name in told:
        assert about["settings"][name]["description"] in text


def test_the_table_of_settings_takes_the_place_of_an_older_one() -> None:
    text = text_of("docs/settings.md")
    older = text.replace("| `page_size` |", "| `size_of_page` |")

    assert older != text
    assert with_table(older) == text


def test_troubleshooting_explains_every_last_line() -> None:
    """Each message in the table of troubleshooting is one that the code has."""
    table = section("docs/troubleshooting.md", "What the last line says")
    explained = re.findall(r"^\| `(.+?)…?` \|", table, re.MULTILINE)
    code = "".join(
        path.read_text(encoding="utf-8") for path in (PROJECT / "tap_nexudus_usage").rglob("*.py")
    )
    code = re.sub(r'"\s*\n\s*f?"', "", code)

    assert len(explained) >= 10
    for message in explained:
        for part in re.split("…", message):
            assert part.strip() in code, f"No message says: {part}"


def test_the_figures_of_performance_are_the_benchs() -> None:
    text = " ".join(text_of("docs/performance.md").split())
    results = json.loads((PROJECT / "bench/results.json").read_text(encoding="utf-8"))
    machine = results["machine"]
    medians = {
        (workload["name"], runs["name"]): runs["median"]
        for workload in results["workloads"]
        for runs in workload["contenders"]
    }
    by_id, search = medians["paced-by-id-20000", "tap"], medians["paced-search-50000", "tap"]
    scripts = [medians[name, "floor"] for name in ("paced-by-id-20000", "paced-search-50000")]
    lowest = min(
        share
        for paced in results["paced"]
        if paced["counting"] not in {"ticks", "even"} and paced["jitters"] == "work"
        for share in paced["shares"]
    )

    assert date.fromisoformat(machine["date"]).strftime("%-d %B %Y") in text
    assert machine["cpu"] in text
    assert by_id["throttled"] == search["throttled"] == 0
    assert f"reaches {by_id['least_pace'] / by_id['pace']:.0%}".replace("%", " %") in text
    for median in (by_id, search):
        assert f"{median['pace']:.1f}" in text
        assert f"where {median['least_pace']:.1f} are" in text
    assert "takes {:.0f} and {:.0f} seconds".format(*(script["pace"] for script in scripts)) in text
    assert f"at least {lowest:.0%}".replace("%", " %") in text


def test_the_state_shown_is_json() -> None:
    state = json.loads(block("docs/reading.md", "json"))

    assert "emitted" in state["bookmarks"]["coworker_extra_service_use_histories"]


def test_the_readme_shows_the_columns_of_the_demo() -> None:
    demo = (PROJECT / "demo/demo.py").read_text(encoding="utf-8")
    _, head, *_ = block("README.md", "text").splitlines()
    columns = head.strip("│").replace(" ", "").split("│")

    assert len(columns) == 6
    for name in columns:
        assert re.search(rf'\bAS "?{name}\b', demo) or f"GROUP BY {name}" in demo


def test_the_addresses_to_replace_on_publishing_are_one(hub_yml: dict[str, Any]) -> None:
    pyproject = (PROJECT / "pyproject.toml").read_text(encoding="utf-8")

    addresses = re.findall(r"https://[^/\s]+/REPLACE-ON-PUBLISHING/[\w-]+", pyproject)
    assert len(addresses) == 5
    assert {*addresses} == {hub_yml["repo"]}


def test_the_changelog_has_this_version() -> None:
    changelog = (PROJECT / "CHANGELOG.md").read_text(encoding="utf-8")

    assert f"## [{TapNexudusUsage.get_plugin_version()}]" in changelog


@pytest.mark.parametrize(
    "path",
    [PROJECT / "constraints.txt", *PROJECT.glob("tests/**/environments/*.txt")],
    ids=lambda path: path.stem,
)
def test_constraints_name_no_host(path: Path) -> None:
    constraints = path.read_text(encoding="utf-8")

    assert "://" not in constraints
    assert "--hash=sha256:" in constraints


def test_the_example_installs_the_dagster_that_is_tested() -> None:
    readme = (PROJECT / "examples/dagster/README.md").read_text(encoding="utf-8")
    pins = (PROJECT / "tests/warehouses/environments/dagster.txt").read_text(encoding="utf-8")
    (tested,) = re.findall(r"^dagster==(\S+)", pins, re.MULTILINE)

    told = re.findall(r"(?:dagster\S*==|Dagster )([\d.]*\d)", readme)
    assert len(told) == 4
    assert set(told) == {tested}


@pytest.mark.parametrize("engine", RECIPES)
def test_the_recipes_load_as_meltano_yml_does(meltano_yml: dict[str, Any], engine: str) -> None:
    recipe = RECIPES[engine]
    loaders = {loader["name"]: loader for loader in meltano_yml["plugins"]["loaders"]}
    loader = loaders[recipe.loader["name"]]

    assert recipe.loader["pip_url"] == loader["pip_url"]
    assert recipe.loader.get("python") == loader.get("python")
    settings = {setting["name"]: setting for setting in loader["settings"]}
    assert recipe.config.keys() <= settings.keys()
    for name, value in recipe.config.items():
        if isinstance(value, bool):
            assert value == settings[name]["value"]


def drawing() -> str:
    """The drawing of the rooms."""
    (text,) = re.findall(
        r"```text\n(.*?)```", (PROJECT / "CONTRIBUTING.md").read_text("utf-8"), re.DOTALL
    )
    return str(text)


def drawn_layers() -> list[set[str]]:
    """The rooms in the drawing, those on one floor together."""
    layers: list[set[str]] = [set()]
    for line in drawing().partition("beside them")[0].splitlines():
        if line.startswith("├"):
            layers.append(set())
        for names in re.findall(r"│ (\w+(?:, \w+)*)  ", line):
            layers[-1] |= set(names.split(", "))
    return layers


def test_the_rooms_drawn_are_those_that_import_linter_keeps_in_order() -> None:
    contracts = read_configuration(str(PROJECT / "pyproject.toml"))["contracts_options"]
    (layers,) = (contract["layers"] for contract in contracts if contract["type"] == "layers")
    kept = [set(re.findall(r"\w+", layer)) for layer in layers]

    assert drawn_layers() == [layer - {"sandbox"} for layer in kept]
    assert "│ sandbox " in drawing().partition("beside them")[2]


def test_the_rooms_drawn_are_all_there_are() -> None:
    package = PROJECT / "tap_nexudus_usage"
    folders = {path.parent.name for path in package.glob("*/__init__.py")}
    modules = {path.stem for path in package.glob("*.py")} - {"__init__", "__main__"}

    assert set.union({"sandbox"}, *drawn_layers()) == folders | modules


def test_the_tests_lie_in_folders_as_the_rooms() -> None:
    rooms = {path.parent.name for path in (PROJECT / "tap_nexudus_usage").glob("*/__init__.py")}
    folders = {path.parent.name for path in PROJECT.glob("tests/*/test_*.py")}

    assert folders - {"warehouses"} == rooms


def test_a_record_is_drawn_to_go_from_each_room_to_one_that_knows_it() -> None:
    (way,) = re.findall(r"^Nexudus ──▶ (.*) ──▶ stdout$", drawing(), re.MULTILINE)
    steps = [set(step.split(", ")) for step in way.split(" ──▶ ")]
    floors = [next(i for i, layer in enumerate(drawn_layers()) if step <= layer) for step in steps]

    assert len(steps) == 4
    assert steps[-1] == {"airbyte", "singer"}
    for rooms, following in pairwise(steps):
        for room, knowing in product(rooms, following):
            files = (PROJECT / "tap_nexudus_usage" / knowing).glob("*.py")
            assert any(f"tap_nexudus_usage.{room}." in file.read_text("utf-8") for file in files)
    assert floors == sorted(floors, reverse=True)


@pytest.mark.parametrize("room", ROOMS)
def test_others_use_of_a_room_what_it_offers(room: str) -> None:
    package = PROJECT / "tap_nexudus_usage"
    text = ast.get_docstring(ast.parse((package / room / "__init__.py").read_text("utf-8"))) or ""
    offered = " ".join(text.partition("Others use: ")[2].split()).removesuffix(".")
    used = {
        [*(node.module or "").split("."), name.name][2]
        for path in package.rglob("*.py")
        if path.parent.name not in {room, "sandbox"}
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom)
        and (node.module or "").split(".")[:2] == ["tap_nexudus_usage", room]
        for name in node.names
    }

    assert sorted(used) == ([] if offered == "nothing" else offered.split(", "))


def test_the_streams_told_are_those_of_discovery() -> None:
    told = section("docs/reading.md", "The two streams")
    streams = json.loads(TapNexudusUsage(validate_config=False).catalog_json_text)["streams"]

    assert [stream["tap_stream_id"] for stream in streams] == [e.stream for e in ENTITIES]
    for stream, entity in zip(streams, ENTITIES, strict=True):
        assert stream["key_properties"] == ["Id"]
        assert stream["replication_key"] == "UpdatedOn"
        (root,) = (m["metadata"] for m in stream["metadata"] if not m["breadcrumb"])
        selected = "yes" if root["selected-by-default"] else "no"
        row = rf"^\| `{entity.stream}`.* \| `{entity.name}` \| {selected} \|"
        assert re.search(row, told, re.MULTILINE)
    assert "primary key `Id` and replication key `UpdatedOn`" in told


def test_the_readme_explains_columns_that_land() -> None:
    _, *tables = section("README.md", "What lands").split("\n| the ")
    units = re.findall(
        r"\d [a-z-]+", ALLOWANCES.schema()["properties"]["ChargePeriod"]["description"]
    )

    assert len(tables) == len(ENTITIES)
    for entity, table in zip(ENTITIES, tables, strict=True):
        head, _, *rows = table.partition("\n\n")[0].splitlines()
        fields = {name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])}
        assert f"`{entity.stream}`" in head
        assert len(fields) > 5
        assert fields <= entity.schema()["properties"].keys()
    assert len(units) == 6
    for unit in units:
        assert unit in tables[-1]


def test_the_roles_are_told() -> None:
    told = section("docs/reading.md", "By search or by Id")

    for entity in ENTITIES:
        assert f"`{entity.read_role}`" in told
        assert f"`{entity.list_role}`" in told


def readmes_extractor() -> dict[str, Any]:
    """The extractor that the README has for a meltano.yml."""
    (told,) = yaml.safe_load(block("README.md", "yaml"))["plugins"]["extractors"]
    return dict(told)


@pytest.fixture
def selections(hub_yml: dict[str, Any]) -> list[list[str]]:
    """What is told to select: by the README, and by the Hub's definition."""
    (shown,) = re.findall(r"```yaml\n(\s*select:.*?)```", hub_yml["usage"], re.DOTALL)
    return [readmes_extractor()["select"], yaml.safe_load(shown)["select"]]


@pytest.mark.parametrize("entity", ENTITIES, ids=lambda entity: entity.stream)
def test_what_holds_personal_data_is_left_out_by_what_is_told(
    entity: Entity, selections: list[list[str]]
) -> None:
    fields = [f"{entity.stream}.{name}" for name in entity.schema()["properties"]]
    for patterns in selections:
        left_out = {
            name.partition(".")[2]
            for name in fields
            if any(fnmatchcase(f"!{name}", pattern) for pattern in patterns)
        }
        assert f"{entity.stream}.*" in patterns
        assert left_out == entity.personal_fields


def test_meltano_yml_shows_the_same(extractor: dict[str, Any]) -> None:
    text = (PROJECT / "meltano.yml").read_text(encoding="utf-8")
    shown = re.findall(r"^    # - (\S+)$", text, re.MULTILINE)

    patterns = [*extractor["select"], *(yaml.safe_load(pattern) for pattern in shown)]
    assert patterns == readmes_extractor()["select"]


def test_the_readmes_extractor_is_meltano_ymls_in_short(extractor: dict[str, Any]) -> None:
    told = readmes_extractor()

    assert {*told["capabilities"]} <= {*extractor["capabilities"]}
    declared = {setting["name"]: setting for setting in extractor["settings"]}
    for setting in told["settings"]:
        assert setting.items() <= declared[setting["name"]].items()
    for name in ("name", "namespace", "executable"):
        assert told[name] == extractor[name]
