"""What every foreign form of a policy keeps to, those added later included; and one that a test adds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from augsearch.policies import (
    Distillation,
    Policy,
    PolicyFile,
    Training,
    UserError,
    read_policy,
    write_policy,
)
from augsearch.policies.exchange import form as exchange_form
from augsearch.policies.exchange.form import Form, forms, written
from augsearch.policies.exchange.head import head_lines
from augsearch.search.cli import main

SIMPLE = Policy(num_ops=0, flip_horizontal=0.5)
"""What every form can say."""
EVERY = pytest.mark.parametrize("form", forms().values(), ids=forms())
READABLE = pytest.mark.parametrize(
    "form",
    [one for one in forms().values() if one.read],
    ids=[one.name for one in forms().values() if one.read],
)


class Richer(Policy):
    """A policy as a later version may have it."""

    sequences: int = 0


@EVERY
def test_it_is_known_by_the_name_of_its_file(form: Form) -> None:
    folder = Path(exchange_form.__file__).parent
    assert (folder / f"{form.name}.py").is_file()
    assert form.suffix.startswith((".", "_"))
    assert form.content
    assert form.says <= Policy.model_fields.keys()
    words = CliRunner().invoke(main, ["export", "--help"]).stdout
    assert form.name in words


@EVERY
def test_a_field_that_it_knows_nothing_of_is_refused_by_name(form: Form) -> None:
    file = PolicyFile.model_construct(policy=Richer(num_ops=0))
    assert written(file, form, approximate=False).text
    with pytest.raises(UserError, match=r"can't say the policy's sequences"):
        written(PolicyFile.model_construct(policy=Richer(num_ops=0, sequences=1)), form, approximate=True)


@EVERY
@pytest.mark.parametrize("name", ["autoaugment-imagenet", "3-augment"])
def test_operations_that_are_more_than_names_are_said_or_refused_in_one_line(form: Form, name: str) -> None:
    file = PolicyFile(policy=Policy.named(name))
    if form.says_choices and form.says_choices(file.policy):
        assert written(file, form, approximate=True).text
        return
    for approximate in (False, True):
        with pytest.raises(UserError, match=f"{form.name} can't say sequences") as error:
            written(file, form, approximate=approximate)
        assert "\n" not in str(error.value)


@EVERY
def test_the_head_says_where_it_comes_from_and_what_was_found(form: Form) -> None:
    file = PolicyFile(
        policy=SIMPLE,
        provenance={"study": "photos-1", "trial": 7, "name": "trial 7"},
        evidence={"verdict": "better than every baseline"},
    )
    text = form.head("", head_lines(file, form.name, ["hue: turned otherwise"], ["shuffle"]))
    for words in ("photos-1", "trial 7", "better than every baseline", "hue: turned otherwise", "shuffle"):
        assert words in text


@EVERY
def test_the_head_names_whatever_else_the_policy_was_found_with(form: Form) -> None:
    training = Training(distillation=Distillation(temperature=2, alpha=0.5), class_balance="loss")
    lines = head_lines(PolicyFile(policy=SIMPLE, training=training), form.name, [], [])
    assert "It was found together with distillation, class balance, which" in " ".join(lines)


@READABLE
@pytest.mark.parametrize(
    "evil", ['"""\nimport os\n"""', "\\", "\n--aa rand-m9\n", "*/ */", "\x00\u2028x", '", "a": "']
)
def test_what_a_stranger_wrote_into_the_head_stays_a_comment(form: Form, evil: str) -> None:
    file = PolicyFile(
        policy=SIMPLE, provenance={"study": evil, "name": evil, "trial": evil}, evidence={"verdict": evil}
    )
    text = written(file, form, approximate=False).text
    assert form.recognises
    assert form.read
    headed = form.head(text, head_lines(file, form.name, [], []))
    assert form.recognises(headed)
    read = form.read(headed)
    assert read == form.read(text)
    assert read.policy == SIMPLE.model_copy(update={"operations": read.policy.operations})


@READABLE
def test_commands_write_and_read_it(form: Form, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_policy(PolicyFile(policy=SIMPLE), "simple.json")
    runner = CliRunner()
    exported = runner.invoke(main, ["export", "simple.json", "--format", form.name])
    assert exported.exit_code == 0, exported.stderr
    assert f"policy{form.suffix}" in exported.stdout
    imported = runner.invoke(main, ["import", f"policy{form.suffix}"])
    assert imported.exit_code == 0, imported.stderr
    file = read_policy("imported.json")
    assert file.policy.flip_horizontal == 0.5
    assert file.policy.num_ops == 0
    assert file.provenance["form"] == form.name


def test_a_ready_policy_is_exported_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, ["export", "flip-crop+trivialaugment", "-o", "ready.json"])
    assert done.exit_code == 0, done.stderr
    assert read_policy("ready.json").policy == Policy.named("flip-crop+trivialaugment")
    done = CliRunner().invoke(main, ["export", "no-such-study"])
    assert done.exit_code
    assert (
        done.stderr
        == "Error: no study 'no-such-study' in this storage; there are: none yet; augsearch run makes one\n"
    )


def test_a_policy_and_its_forms_load_no_other_library() -> None:
    code = (
        "import sys; from augsearch.policies.exchange.form import forms\n"
        "assert forms()\n"
        "heavy = {'torch', 'torchvision', 'albumentations', 'timm', 'kornia', 'keras'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


TOY = """
from augsearch.policies.exchange.form import Difference, Form, Written


def _write(policy):
    return Written(f"flip {policy.flip_horizontal}", (Difference("crop", "left out"),) if policy.crop else ())


FORM = Form(
    name="toy",
    suffix=".toy",
    content="a word",
    says=frozenset({"flip_horizontal", "crop", "num_ops"}),
    write=_write,
    head=lambda text, lines: "".join(f"# {line}\\\\n" for line in lines) + text,
)
"""


def test_a_form_is_added_by_one_file(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    import augsearch.policies.exchange as room

    folder = tmp_path_factory.mktemp("forms")
    (folder / "toy.py").write_text(TOY)
    monkeypatch.setattr(room, "__path__", [*room.__path__, str(folder)])
    monkeypatch.chdir(tmp_path)
    runner = CliRunner()
    assert "toy: a word" in " ".join(runner.invoke(main, ["export", "--help"]).stdout.split())
    write_policy(PolicyFile(policy=SIMPLE.model_copy(update={"crop": 1.0, "magnitude": 4})), "p.json")
    magnitude = runner.invoke(main, ["export", "p.json", "--format", "toy"])
    assert (magnitude.exit_code, "can't say the policy's magnitude" in magnitude.stderr) == (2, True)
    write_policy(PolicyFile(policy=SIMPLE.model_copy(update={"crop": 1.0})), "p.json")
    refused = runner.invoke(main, ["export", "p.json", "--format", "toy"])
    assert refused.exit_code == 2
    assert "crop: left out; --approximate writes it so" in refused.stderr
    assert not Path("policy.toy").exists()
    near = runner.invoke(main, ["export", "p.json", "--format", "toy", "--approximate"])
    assert "approximated: crop: left out" in near.stdout
    assert "- crop: left out" in Path("policy.toy").read_text()
    unreadable = runner.invoke(main, ["import", "policy.toy"])
    assert "nothing that augsearch import can read" in unreadable.stderr


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("import", "nowhere.py"), "nowhere.py: no such file or directory; give a file, or timm's flags"),
        (("import", "."), ".: is a directory"),
        (("import", "own.json"), "own.json: is a policy file already"),
        (("import", "binary"), "binary: not a text file"),
        (("export", "nowhere.json"), "nowhere.json: no such file or directory; give a policy file"),
        (("export", "own.json", "--trial", "3"), "own.json: a policy file has no trials; leave out --trial"),
        (("export", "own.json", "--format", "tensorflow"), "'tensorflow' is not one of"),
    ],
)
def test_what_is_wrong_is_one_line(
    arguments: tuple[str, ...], line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_policy(PolicyFile(policy=SIMPLE), "own.json")
    Path("binary").write_bytes(b"\xff\xfe\x00")
    done = CliRunner().invoke(main, [*arguments])
    assert done.exit_code == 2
    assert line in done.stderr
    assert "Traceback" not in done.stderr


def test_the_file_to_import_is_not_written_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_policy(PolicyFile(policy=SIMPLE), "own.json")
    runner = CliRunner()
    runner.invoke(main, ["export", "own.json", "--format", "torchvision"])
    before = Path("policy.py").read_bytes()
    assert (
        "is the file to import itself"
        in runner.invoke(main, ["import", "policy.py", "-o", "policy.py"]).stderr
    )
    assert Path("policy.py").read_bytes() == before


@pytest.mark.parametrize(
    "form", [one for one in forms().values() if one.suffix.endswith(".py")], ids=lambda one: one.name
)
@pytest.mark.parametrize(
    "policy",
    [Policy(crop=1.0, operations=("rotate", "invert")), SIMPLE, Policy.named("autoaugment-cifar10")],
    ids=["usual", "simple", "sequences"],
)
def test_exported_modules_pass_ruff(form: Form, policy: Policy, tmp_path: Path) -> None:
    file = PolicyFile(policy=policy)
    made = written(file, form, approximate=True)
    (tmp_path / "augment.py").write_text(
        form.head(made.text, head_lines(file, form.name, map(str, made.differences), made.notes))
    )
    for arguments in (["check", "--select", "A,B,C4,E,F,I,N,PIE,RET,RUF,SIM,UP,W"], ["format", "--check"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *arguments, "--isolated", "--line-length", "110", "augment.py"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout
