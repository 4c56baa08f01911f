"""Every block of commands, configuration or output in the documents, and the test that runs it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from documents import Block

TESTS = Path(__file__).parent
COMMANDS = "test_told_commands.py::"
DOCUMENTS = "test_documents.py::"
AIRBYTE = "airbyte/test_document.py::"
MELTANO = "warehouses/test_meltano.py::"
SCALING = "warehouses/test_scaling.py::"
SHARDS = SCALING + "test_shards_of_one_account_are_loaded_at_once_each_with_its_own_state"
MORNING = "warehouses/test_first_morning.py::test_what_the_first_morning_shows_is_what_happens"
WAREHOUSES = "warehouses/test_warehouses.py::test_the_recipe_answers_what_the_records_say"


@dataclass(frozen=True)
class Told:
    """A kind of block, known by a text that it has in it; the first in the list counts.

    Attributes:
        test: runs the block as it stands or, where it can't be run, looks at what it can.
        why_not: what keeps a block from being run as it stands; empty where nothing does.
    """

    document: str
    language: str
    containing: str
    test: str
    why_not: str = ""

    def is_of(self, block: Block) -> bool:
        """Whether a block is of this kind."""
        same = (block.document, block.language) == (self.document, self.language)
        return same and self.containing in block.text


TOLD = [
    Told("CONTRIBUTING.md", "text", "cli", DOCUMENTS + "test_the_rooms_drawn_are_all_there_are"),
    Told("README.md", "sh", "make demo", COMMANDS + "test_ci_runs_what_make_is_told_to"),
    Told("README.md", "sh", "make test", COMMANDS + "test_ci_runs_what_make_is_told_to"),
    Told(
        "README.md",
        "text",
        "customer",
        DOCUMENTS + "test_the_readme_shows_the_columns_of_the_demo",
        "a few lines of many",
    ),
    Told("README.md", "yaml", "plugins:", COMMANDS + "test_meltano_reads_as_the_readme_says"),
    Told("README.md", "sh", "meltano install", COMMANDS + "test_meltano_reads_as_the_readme_says"),
    Told("README.md", "sh", "pip install .", COMMANDS + "test_pip_installs_the_tap"),
    Told("README.md", "sh", "uv tool install", COMMANDS + "test_uv_installs_the_tap"),
    Told(
        "README.md",
        "sh",
        "target-jsonl",
        "warehouses/test_singer_runner.py::test_a_second_run_as_told_brings_only_what_changed",
    ),
    Told(
        "README.md",
        "python",
        "airbyte.get_source",
        "airbyte/clients/test_pyairbyte.py::test_the_script_in_the_readme_reads_both_streams",
    ),
    Told(
        "docs/airbyte.md",
        "sh",
        "pip install airbyte",
        AIRBYTE + "test_what_is_told_to_install_is_what_is_tested",
        "the tests' PyAirbyte is pinned",
    ),
    Told(
        "docs/airbyte.md",
        "sh",
        "docker build",
        "airbyte/test_image.py::test_the_command_told_builds_this_version",
        "no container engine",
    ),
    Told(
        "docs/airbyte.md",
        "sh",
        "nexudus-sandbox",
        AIRBYTE + "test_the_commands_bring_everything_and_then_nothing",
    ),
    Told(
        "docs/airbyte.md",
        "json",
        '"credentials": {',
        AIRBYTE + "test_the_configurations_fit_the_form_and_are_understood",
    ),
    Told(
        "docs/settings.md",
        "sh",
        "jq ",
        "warehouses/test_singer_runner.py::test_a_catalog_as_told_selects_both_streams",
    ),
    Told("docs/airbyte.md", "json", '"STREAM"', AIRBYTE + "test_the_state_shown_is_understood"),
    Told("docs/first-morning.md", "sh", "", MORNING),
    Told("docs/first-morning.md", "text", "30 5 * * *", MORNING, "it is a line for cron"),
    Told(
        "docs/first-morning.md",
        "text",
        "nexudus-sandbox",
        "test_first_morning.py::test_the_sandbox_told_is_the_one_walked_through",
        "the tests have a sandbox of their own",
    ),
    Told(
        "docs/first-morning.md",
        "text",
        "curl",
        "test_first_morning.py::test_what_happens_between_the_steps_is_what_is_told",
    ),
    Told("docs/first-morning.md", "text", "", MORNING),
    Told("docs/reading.md", "json", "bookmarks", DOCUMENTS + "test_the_state_shown_is_json"),
    Told(
        "docs/reading.md",
        "yaml",
        "FULL_TABLE",
        MELTANO + "test_a_full_table_tells_which_version_is_complete",
    ),
    Told(
        "docs/reading.md",
        "sh",
        "nexudus-sandbox",
        COMMANDS + "test_a_second_run_by_hand_emits_nothing_again",
    ),
    Told("docs/recipes.md", "sql", "SELECT", WAREHOUSES),
    Told(
        "docs/recipes.md",
        "yaml",
        "pip_url",
        DOCUMENTS + "test_the_recipes_load_as_meltano_yml_does",
    ),
    Told(
        "docs/scaling.md",
        "yaml",
        "load_schema: nexudus_lisbon",
        SCALING + "test_accounts_are_loaded_at_once_each_with_its_own_state",
    ),
    Told(
        "docs/scaling.md",
        "sh",
        "for account in",
        SCALING + "test_accounts_are_loaded_at_once_each_with_its_own_state",
    ),
    Told("docs/scaling.md", "yaml", "record_ids_file: shard", SHARDS),
    Told("docs/scaling.md", "sh", "awk", SHARDS),
    Told("docs/scaling.md", "sh", "run --state-id-suffix shard-0", SHARDS),
    Told("docs/scaling.md", "sh", "for shard in", SHARDS),
    Told("docs/scaling.md", "sql", "UNION ALL", SCALING + "test_accounts_are_seen_in_one_place"),
    Told(
        "docs/settings.md",
        "yaml",
        "record_ids",
        COMMANDS + "test_meltano_hands_on_the_ids_that_are_configured",
    ),
    Told(
        "docs/troubleshooting.md",
        "text",
        "Login",
        COMMANDS + "test_the_output_of_the_test_is_what_it_says",
    ),
    Told("docs/warehouses.md", "yaml", "stream_maps", MELTANO + "test_a_stream_map_hashes_a_field"),
    Told(
        "examples/dagster/README.md",
        "sh",
        "pip install",
        DOCUMENTS + "test_the_example_installs_the_dagster_that_is_tested",
        "the tests' Dagster is installed once, by its hashes",
    ),
    Told(
        "examples/dagster/README.md",
        "sh",
        "dg launch",
        "warehouses/test_dagster.py::test_accounts_are_loaded_at_once_and_a_login_that_fails_is_tried_again",
    ),
]


def told_of(block: Block) -> Told | None:
    """The first that the block is of."""
    return next((told for told in TOLD if told.is_of(block)), None)


def reads(test: str, document: str) -> bool:
    """Whether a test's file, or one of the tests' own that it imports, names the document."""
    file, _, _ = test.partition("::")
    text = (TESTS / file).read_text(encoding="utf-8")
    imported = (
        TESTS / f"{name.replace('.', '/')}.py"
        for name in re.findall(r"^from ([\w.]+) import", text, re.MULTILINE)
    )
    texts = [text, *(path.read_text(encoding="utf-8") for path in imported if path.exists())]
    return any(document in text or document.rpartition("/")[2] in text for text in texts)
