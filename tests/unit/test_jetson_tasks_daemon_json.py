"""Laws of the edit of daemon.json, as a table of before and after."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.tasks.daemon_json import BadConfig, with_runtime

RUNTIME = "nvidia-container-runtime"
FRESH = """\
{
    "runtimes": {
        "nvidia": {
            "path": "nvidia-container-runtime",
            "runtimeArgs": []
        }
    },
    "default-runtime": "nvidia"
}
"""


def edited(text: str | None, *, default: bool = True) -> str:
    """Return a daemon.json with NVIDIA's runtime."""
    content = None if text is None else text.encode()
    return with_runtime(content, "nvidia", RUNTIME, default=default).decode()


TABLE = [
    pytest.param(None, FRESH, id="absent"),
    pytest.param("", FRESH, id="empty"),
    pytest.param(" \n", FRESH.removesuffix("\n") + "\n", id="white space"),
    pytest.param("{}", FRESH.removesuffix("\n"), id="an empty object, without a final newline"),
    pytest.param(FRESH, FRESH, id="done"),
    pytest.param(
        '{\n    "default-runtime": "nvidia",\n    "runtimes": {\n        "nvidia": {\n            "args": [],\n'
        '            "path": "nvidia-container-runtime"\n        }\n    }\n}\n',
        None,
        id="done by nvidia-ctk, with args",
    ),
    pytest.param(
        '{"runtimes": {"nvidia": {"path": "/usr/bin/nvidia-container-runtime", "runtimeArgs": ["-d"]}}}\n',
        '{"runtimes": {"nvidia": {"path": "/usr/bin/nvidia-container-runtime", "runtimeArgs": ["-d"]}},'
        ' "default-runtime": "nvidia"}\n',
        id="one line, the same program by its full path, own arguments",
    ),
    pytest.param(
        '{\n  "runtimes": {\n    "nvidia": {\n      "path": "nvidia-container-runtime",\n      "runtimeArgs": []\n'
        "    }\n  }\n}\n",
        '{\n  "runtimes": {\n    "nvidia": {\n      "path": "nvidia-container-runtime",\n      "runtimeArgs": []\n'
        '    }\n  },\n  "default-runtime": "nvidia"\n}\n',
        id="JetPack 4, two spaces: one line is added",
    ),
    pytest.param(
        '{\n\t"data-root": "/ssd",\n\t"dns": ["1.1.1.1", "8.8.8.8"],\n\t"x": "\\u00fc", "y": "ü",\n'
        '\t"default-runtime": "runc"\n}',
        '{\n\t"data-root": "/ssd",\n\t"dns": ["1.1.1.1", "8.8.8.8"],\n\t"x": "\\u00fc", "y": "ü",\n'
        '\t"default-runtime": "nvidia",\n\t"runtimes": {\n\t\t"nvidia": {\n\t\t\t"path": "nvidia-container-runtime",\n'
        '\t\t\t"runtimeArgs": []\n\t\t}\n\t}\n}',
        id="tabs, other keys, escapes, another default: every other byte stays",
    ),
    pytest.param(
        '{\n    "runtimes": {\n        "crun": {"path": "crun"}\n    },\n    "default-runtime": "nvidia"\n}\n',
        '{\n    "runtimes": {\n        "crun": {"path": "crun"},\n        "nvidia": {\n'
        '            "path": "nvidia-container-runtime",\n            "runtimeArgs": []\n        }\n    },\n'
        '    "default-runtime": "nvidia"\n}\n',
        id="another runtime is kept",
    ),
    pytest.param('{\r\n    "runtimes": {}\r\n}\r\n', FRESH.replace("\n", "\r\n"), id="the line ends of another system"),
    pytest.param(
        '{\n    "runtimes": {\n        "nvidia": {\n            "path": "/opt/other",\n            "args": ["a"]\n'
        '        }\n    },\n    "default-runtime": "nvidia"\n}\n',
        '{\n    "runtimes": {\n        "nvidia": {\n            "path": "nvidia-container-runtime",\n'
        '            "args": ["a"]\n        }\n    },\n    "default-runtime": "nvidia"\n}\n',
        id="another program is replaced, its arguments stay",
    ),
    pytest.param(
        '{"default-runtime": "nvidia", "runtimes": null}',
        '{"default-runtime": "nvidia", '
        '"runtimes": {"nvidia": {"path": "nvidia-container-runtime", "runtimeArgs": []}}}',
        id="null is nothing",
    ),
]


@pytest.mark.parametrize(("before", "after"), TABLE)
def test_only_what_is_wanted_changes(before: str | None, after: str | None) -> None:
    """A runtime is set, every other byte stays, and a second edit changes nothing."""
    wanted = before if after is None else after
    found = edited(before)
    assert found == wanted
    assert edited(found) == found


def test_the_default_may_stay_as_it_is() -> None:
    """Where the runtime is not to be the default one, the default is not touched."""
    found = json.loads(edited('{"default-runtime": "runc"}', default=False))
    assert found["default-runtime"] == "runc"
    assert "nvidia" in found["runtimes"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{\n  "a": 1,\n  # mine\n}\n', "line 3, column 3"),
        ('{"a": }', "line 1, column 7"),
        ('{"a": 1,}', "line 1"),
        ("[]", "no JSON object"),
        ('{"runtimes": []}', "runtimes is no JSON object"),
        ('{"runtimes": {"nvidia": "x"}}', "runtimes.nvidia is no JSON object"),
        ('{"a": NaN}', "NaN"),
    ],
)
def test_what_is_no_configuration_is_refused_with_its_place(text: str, told: str) -> None:
    """A file that Docker would not read is left to a person, with line and column."""
    with pytest.raises(BadConfig) as caught:
        edited(text)
    assert told in caught.value.message


def test_a_comment_is_named_as_such() -> None:
    """JSON has no comments, and the hint says so."""
    with pytest.raises(BadConfig) as caught:
        edited('{\n  # mine\n  "a": 1\n}\n')
    assert "comments" in str(caught.value.hint)


def test_bytes_that_are_no_text_are_refused() -> None:
    """What is no UTF-8 is not guessed at."""
    with pytest.raises(BadConfig):
        with_runtime(b'{"a": "\xff"}', "nvidia", RUNTIME, default=True)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(
        st.text(max_size=6).filter(lambda key: key not in ("runtimes", "default-runtime")), JSON, max_size=4
    ),
    st.dictionaries(st.text(max_size=6), st.fixed_dictionaries({"path": st.text(max_size=5)}), max_size=2),
    st.sampled_from([None, 0, 2, 4, "\t"]),
    st.booleans(),
)
def test_every_other_key_survives(
    others: dict[str, object], runtimes: dict[str, object], indent: int | str | None, ascii_only: bool
) -> None:
    """Whatever a file holds and however it is laid out, it says the same afterwards, with the runtime in it."""
    config = {**others, "runtimes": runtimes}
    found = json.loads(edited(json.dumps(config, indent=indent, ensure_ascii=ascii_only)))
    assert found.pop("default-runtime") == "nvidia"
    assert found["runtimes"].pop("nvidia")["path"] == RUNTIME
    runtimes = {name: entry for name, entry in runtimes.items() if name != "nvidia"}
    assert found == {**others, "runtimes": runtimes}
    assert list(found) == [*others, "runtimes"]
