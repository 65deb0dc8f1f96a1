from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from bench.core.errors import UserError
from bench.declarations import projects, yaml12
from bench.declarations.catalog import Catalog
from bench.declarations.projects import Project, find_projects, project_around

Write = Callable[[Path, Mapping[str, str]], Path]
Changed = Callable[[Mapping[str, str]], Catalog]
LORA = 'adaptation: {adapter: "lora:LoRA"}\n'


def test_names_are_places(catalog: Catalog) -> None:
    assert catalog.tasks() == ["digits/small", "glue/cola", "glue/rte"]
    assert catalog.suites() == ["glue"]
    assert catalog.methods() == ["fish", "full", "gcr", "lora", "lora-pro", "quick", "sparse"]
    assert catalog.backbones() == ["tiny-bert", "unet"]


def test_listing_reads_no_file(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> dict[str, object]:
        raise AssertionError(f"{path} was read")

    monkeypatch.setattr(yaml12, "load", refuse)
    assert all([catalog.tasks(), catalog.methods(), catalog.backbones(), catalog.suites()])
    with pytest.raises(AssertionError):
        catalog.method("lora")


def test_a_declaration(catalog: Catalog, project: Path) -> None:
    lora = catalog.method("lora")
    assert (lora.kind, lora.name, lora.origin, lora.root) == ("method", "lora", "project", project)
    assert lora.path == project / "methods/adapters/lora.yaml"
    assert lora.home == project / "methods/adapters"
    assert lora.body["optimizer"] == {"lr": 5e-4, "schedule": "linear"}  # no defaults: it may be combined
    assert catalog.method("lora") is lora
    assert catalog.backbone("tiny-bert").body["pool"] == "default"
    assert catalog.suite("glue").body == {
        "title": "GLUE",
        "tasks": ["glue/rte", "glue/cola"],
        "average": "macro",
        "groups": {"glue": ["glue/rte", "glue/cola"]},
    }
    with pytest.raises(AttributeError):
        lora.name = "x"  # type: ignore[misc]


def test_the_family_is_merged_in(catalog: Catalog, project: Path) -> None:
    cola = catalog.task("glue/cola")
    assert cola.body["problem"] == "text-classification"
    assert cola.body["metric"] == ["matthews", "accuracy"]  # a list replaces
    assert "text" not in cola.body  # null removes
    assert catalog.task("glue/rte").body["text"] == {"max_length": 128}
    assert cola.giver("metric") == project / "tasks/glue/cola.yaml"
    assert cola.giver("budget.epochs") == project / "tasks/glue/_family.yaml"
    assert cola.place("budget.epochs").endswith("tasks/glue/_family.yaml")


def test_families_merge_from_the_outside_in(changed: Changed) -> None:
    catalog = changed(
        {
            "_family.yaml": "title: no family, since it is not among the tasks\nselection: last",
            "tasks/_family.yaml": "label: outer\nmetric: a\nbudget: {epochs: 1, seconds: 5}",
            "tasks/a/_family.yaml": "metric: b\ninputs: [x, y]\nbudget: {epochs: 2}",
            "tasks/a/b/_family.yaml": "inputs: [z]\nbudget: {seconds: null}",
            "tasks/a/b/c.yaml": "title: C\nbudget: {batch_size: 4}",
            "tasks/a/d.yaml": "title: D",
        }
    )
    assert {"a/b/c", "a/d"} < set(catalog.tasks())
    assert catalog.task("a/b/c").body == {
        "label": "outer",
        "metric": "b",
        "inputs": ["z"],
        "budget": {"epochs": 2, "batch_size": 4},
        "title": "C",
    }
    assert catalog.task("a/d").body["inputs"] == ["x", "y"]
    assert catalog.task("a/d").body["budget"] == {"epochs": 2, "seconds": 5}  # c's merge changed nothing here


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lorra", 'There is no method "lorra". Did you mean "lora"'),
        ("glue/rte", 'There is no method "glue/rte"; that is the name of a task.'),
        ("zzzzzz", 'There is no method "zzzzzz". `bench list methods` shows all 7.'),
        ("../methods/lora", 'There is no method "../methods/lora".'),
    ],
)
def test_unknown_names(catalog: Catalog, name: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        catalog.method(name)
    assert str(caught.value).startswith(message)


def test_unknown_task_names_the_nearest(catalog: Catalog) -> None:
    with pytest.raises(UserError, match=r'no task "glue/rtee". Did you mean "glue/rte"'):
        catalog.task("glue/rtee")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("methods/adapters/lora.yaml", "methods/other/lora.yaml"),
        ("methods/backbones/tiny-bert.yaml", "methods/backbones/more/tiny-bert.yaml"),
        ("tasks/glue/_suite.yaml", "tasks/glue.yaml"),
    ],
)
def test_a_name_declared_twice_names_both_files(changed: Changed, one: str, other: str) -> None:
    catalog = changed({other: "title: X"})
    with pytest.raises(UserError, match="is declared twice") as caught:
        catalog.tasks() and catalog.methods()
    assert one in str(caught.value)
    assert other in str(caught.value)


def test_a_name_declared_in_two_projects(project: Path, tmp_path: Path, write_project: Write) -> None:
    other = write_project(tmp_path / "other", {"methods/mine/lora.yaml": LORA})
    catalog = Catalog([Project.at(project), Project.at(other, "plug-in other")])
    with pytest.raises(UserError, match='"lora" is declared twice') as caught:
        catalog.methods()
    assert "project/methods/adapters/lora.yaml" in str(caught.value)
    assert "other/methods/mine/lora.yaml" in str(caught.value)
    assert catalog.tasks()  # the other kinds are still usable


@pytest.mark.parametrize(
    "name",
    [
        "tasks/a b/c.yaml",
        "tasks/a/b+c.yaml",
        "tasks/a/b..c.yaml",
        "tasks/a/-b.yaml",
        "tasks/é/a.yaml",
        "tasks/a/b=c.yaml",
    ],
)
def test_illegal_names(changed: Changed, name: str) -> None:
    with pytest.raises(UserError, match="a name may hold letters"):
        changed({name: "title: X"}).tasks()


def test_a_method_with_a_dot_could_not_be_typed(changed: Changed) -> None:
    with pytest.raises(UserError, match=r'may hold no "."'):
        changed({"methods/adapters/lora.v2.yaml": LORA}).methods()


def test_what_is_no_declaration(changed: Changed) -> None:
    catalog = changed(
        {
            "methods/adapters/_shared.yaml": "title: X",
            "methods/adapters/.hidden.yaml": "title: X",
            "methods/__pycache__/x.yaml": "title: X",
            "methods/adapters/notes.txt": "x",
            "tasks/_suite.yaml": "tasks: [a]",
            "methods/top.yaml": LORA,
        }
    )
    assert set(catalog.methods()) - {"top"} == {"fish", "full", "gcr", "lora", "lora-pro", "quick", "sparse"}
    assert catalog.suites() == ["glue"]


def test_mistakes_name_file_and_key_when_read(changed: Changed) -> None:
    catalog = changed({"methods/adapters/bad.yaml": "adaption: {}", "methods/backbones/bad.yaml": "library: x"})
    with pytest.raises(UserError, match=r'methods/adapters/bad.yaml: "adaption" .* Did you mean "adaptation"'):
        catalog.method("bad")
    with pytest.raises(UserError, match=r'methods/backbones/bad.yaml: "library" must be one of'):
        catalog.backbone("bad")


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ("adaptation.params.rnak: {choices: [1]}", 'Did you mean "adaptation.params.rank"'),
        ("optimiser.lr: {low: 1, high: 2}", 'Did you mean "optimizer.lr"'),
        ("optimizer.lr: {low: 1, high: 2, when: {adaptation.params.x: 1}}", '"adaptation.params.x"'),
        ("title: {choices: [a]}", '"title" is an unknown key'),
    ],
)
def test_a_search_names_keys_the_method_has(changed: Changed, search: str, message: str) -> None:
    text = f'adaptation: {{adapter: "lora:LoRA", params: {{rank: 8}}}}\nsearch:\n  {search}'
    with pytest.raises(UserError) as caught:
        changed({"methods/adapters/bad.yaml": text}).method("bad")
    assert message in str(caught.value)
    assert 'bad.yaml: "search" names' in str(caught.value)


def test_links_may_not_leave_the_project(changed: Changed, tmp_path: Path) -> None:
    outside = tmp_path / "outside.yaml"
    outside.write_text(LORA)
    root = changed({}).projects[0].methods
    assert root is not None
    (root / "adapters/inside.yaml").symlink_to(root / "adapters/full.yaml")
    assert "inside" in Catalog([Project.at(root.parent)]).methods()
    (root / "adapters/evil.yaml").symlink_to(outside)
    with pytest.raises(UserError, match=r"evil.yaml is a link that leaves its project"):
        Catalog([Project.at(root.parent)]).methods()


@pytest.mark.parametrize("target", ["outside", "sibling"])
def test_linked_folders_may_not_leave_the_project(changed: Changed, tmp_path: Path, target: str) -> None:
    name = "outside" if target == "outside" else "changed-too"  # a name that begins as the project's does
    (tmp_path / name).mkdir()
    project = Project.at((changed({}).projects[0].tasks or tmp_path).parent)
    assert project.tasks is not None
    (project.tasks / "far").symlink_to(tmp_path / name)
    with pytest.raises(UserError, match="far is a link that leaves its project"):
        Catalog([project]).tasks()


def test_links_may_not_go_in_a_circle(changed: Changed) -> None:
    tasks = changed({}).projects[0].tasks
    assert tasks is not None
    (tasks / "glue" / "again").symlink_to(tasks)
    with pytest.raises(UserError, match="leads back to its own parent"):
        Catalog([Project.at(tasks.parent)]).tasks()


def test_a_linked_family_file_may_not_leave(changed: Changed, tmp_path: Path) -> None:
    (tmp_path / "far.yaml").write_text("metric: x")
    tasks = changed({}).projects[0].tasks
    assert tasks is not None
    (tasks / "digits" / "_family.yaml").symlink_to(tmp_path / "far.yaml")
    with pytest.raises(UserError, match=r"_family.yaml is a link that leaves"):
        Catalog([Project.at(tasks.parent)]).tasks()


def test_the_project_around_a_folder(project: Path, write_project: Write) -> None:
    deep = project / "notes" / "deep"
    deep.mkdir(parents=True)
    assert project_around(deep) == project.resolve()
    assert project_around(project / "tasks" / "glue") == project.resolve()
    (deep / "tasks").mkdir()
    assert project_around(deep) == project.resolve()  # a `tasks` folder without YAML is no project
    write_project(deep, {"methods/mine/x.yaml": LORA})
    assert project_around(deep) == deep.resolve()


def test_no_project_at_all(tmp_path: Path) -> None:
    assert project_around(tmp_path) is None
    assert Catalog.find(tmp_path, builtin=False).tasks() == []
    with pytest.raises(UserError, match="cannot be searched"):
        project_around(tmp_path / "missing")


def test_a_file_system_boundary_ends_the_walk(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = project / "mounted"
    inner.mkdir()
    real, mount = Path.stat, project.resolve()

    def stat(self: Path, **options: bool) -> os.stat_result:
        fields = list(real(self, **options))
        fields[2] += 1 if self == mount else 0  # st_dev
        return os.stat_result(fields)

    monkeypatch.setattr(Path, "stat", stat)
    assert project_around(inner) is None


def test_find_puts_the_project_before_the_builtins(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_project: Write
) -> None:
    builtin = write_project(tmp_path / "builtin", {"tasks/b/x.yaml": "title: X", "methods/k/built.yaml": LORA})
    monkeypatch.setattr(projects, "_builtins", lambda: Project.at(builtin, "built-in"))
    monkeypatch.setattr(projects, "_plugins", list)
    catalog = Catalog.find(project)
    assert [each.origin for each in catalog.projects] == ["project", "built-in"]
    assert catalog.task("b/x").origin == "built-in"
    assert "b/x" not in Catalog.find(project, builtin=False).tasks()
    monkeypatch.chdir(project / "tasks")
    assert Catalog.find().tasks() == catalog.tasks()


def test_a_project_that_is_the_builtins_counts_once(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    linked = project.parent / "linked"
    linked.symlink_to(project)
    monkeypatch.setattr(projects, "_builtins", lambda: Project.at(linked, "built-in"))
    monkeypatch.setattr(projects, "_plugins", list)
    assert len(find_projects(project)) == 1
    assert "lora" in Catalog.find(project).methods()


def test_a_checkout_of_the_harness_stands_for_the_builtins(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_project: Write
) -> None:
    """An installed copy of the same declarations must not make every name declared twice."""
    installed = write_project(tmp_path / "installed", {"methods/adapters/lora.yaml": LORA})
    write_project(project, {"bench/declarations/projects.py": ""})
    monkeypatch.setattr(projects, "_builtins", lambda: Project.at(installed, "built-in"))
    monkeypatch.setattr(projects, "_plugins", list)
    catalog = Catalog.find(project)
    assert (catalog.method("lora").origin, catalog.method("lora").root) == ("built-in", project)


def test_the_builtins_are_found_in_this_checkout(tmp_path: Path) -> None:
    builtin = projects._builtins()
    assert [folder and folder.name for folder in (builtin.tasks, builtin.methods)] == ["tasks", "methods"]


PLUGIN = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from bench.declarations.catalog import Catalog
catalog = Catalog.find(Path(sys.argv[2]))
declaration = catalog.method("theirs")
print(declaration.origin, "theirs/x" in catalog.tasks(), "theirpkg" in sys.modules)
"""


def run_plugin(write_project: Write, site: Path, value: str, start: Path) -> subprocess.CompletedProcess[str]:
    write_project(
        site,
        {
            "theirs-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: theirs\nVersion: 1.0",
            "theirs-1.0.dist-info/entry_points.txt": f"[bench.projects]\ntheirs = {value}",
        },
    )
    root = Path(projects.__file__).parents[2]
    return subprocess.run(
        [sys.executable, "-c", PLUGIN, str(site), str(start)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(root)},
    )


def test_plugins_are_found_by_entry_point_without_running_them(tmp_path: Path, write_project: Write) -> None:
    site = write_project(
        tmp_path / "site",
        {
            "theirpkg/__init__.py": "raise SystemExit('the plug-in was run')",
            "theirpkg/methods/k/theirs.yaml": LORA,
            "theirpkg/tasks/theirs/x.yaml": "title: X",
        },
    )
    done = run_plugin(write_project, site, "theirpkg", tmp_path)
    assert done.stdout.strip() == "plug-in theirs True False", done.stderr


def test_a_plugin_that_cannot_be_imported_is_loud(write_project: Write, tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    done = run_plugin(write_project, tmp_path / "site", "missingpkg", tmp_path)
    assert 'The plug-in "theirs" names the package "missingpkg", which cannot be imported' in done.stderr


def test_a_plugin_without_declarations_is_loud(tmp_path: Path, write_project: Write) -> None:
    site = write_project(tmp_path / "site", {"emptypkg/__init__.py": ""})
    assert "holds neither tasks nor methods" in run_plugin(write_project, site, "emptypkg", tmp_path).stderr


def test_names_of_many_files_are_quick(tmp_path: Path, write_project: Write) -> None:
    root = write_project(tmp_path, {f"tasks/f{i % 5}/t{i}.yaml": "title: X" for i in range(150)})
    best = 1.0
    for _ in range(5):
        started = time.process_time()
        catalog = Catalog([Project.at(root)])
        assert len(catalog.tasks()) == 150
        catalog.task("f0/t0")
        best = min(best, time.process_time() - started)
    assert best < 0.05


def test_nothing_heavy_is_imported() -> None:
    code = (
        "import sys, bench.declarations.resolve, bench.declarations.catalog, bench.declarations.expressions;"
        "print(sorted({'yaml', 'omegaconf', 'numpy', 'torch', 'importlib.metadata'} & set(sys.modules)))"
    )
    root = Path(projects.__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == "[]"
