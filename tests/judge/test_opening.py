"""From an address to a judge: found to be there, or refused at once with what to do."""

import json
import logging
import time
from pathlib import Path

import pytest

from evalsuite.errors import ConfigError, JudgeError, ModelLoadError
from evalsuite.harness.judge_options import read_judge_options
from evalsuite.judge import opening
from evalsuite.judge.endpoint import Served
from evalsuite.judge.grading import AskingJudge
from evalsuite.judge.opening import KEY_VARIABLES, MODEL_VARIABLE, open_judge
from evalsuite.judge.secret import Secret
from tests.judge.fake_server import AT_ONCE, KEY, MODEL, Answer, fails, lists, question, says, serving


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for name in (MODEL_VARIABLE, *KEY_VARIABLES):
        monkeypatch.delenv(name, raising=False)


def test_the_only_model_of_a_server_is_taken() -> None:
    with serving(lambda n, body: says("1")) as server:
        assert open_judge(server.url).name == f"{MODEL} at {server.url}"


def test_of_several_models_one_must_be_named() -> None:
    with serving(lambda n, body: says("1"), models=lists("a", "b")) as server:
        with pytest.raises(
            ConfigError, match=rf"serves 2 models \(a, b\); name one with --judge-model or {MODEL_VARIABLE}"
        ):
            open_judge(server.url)
        assert open_judge(server.url, model="b").name.startswith("b at ")


def test_model_and_key_come_from_the_environment_and_the_argument_is_stronger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MODEL_VARIABLE, "of-the-environment")
    monkeypatch.setenv("OPENAI_API_KEY", "openai-key")
    with serving(lambda n, body: says("1"), models=lists("of-the-environment", "named")) as server:
        open_judge(server.url).grade([question(0)])
        monkeypatch.setenv("EVALSUITE_JUDGE_API_KEY", "own-key")
        open_judge(server.url, model="named").grade([question(0)])
        open_judge(server.url, api_key=KEY).grade([question(0)])
        assert server.keys == ["Bearer openai-key", "Bearer own-key", f"Bearer {KEY}"]
        assert [body["model"] for body in server.bodies] == ["of-the-environment", "named", "of-the-environment"]


def key_sent_to(url: str, **how: str) -> str:
    """The key that a judge at `url` would be asked with; nobody is asked."""
    judge = open_judge(url, model=MODEL, **how)  # type: ignore[arg-type]
    assert isinstance(judge, AskingJudge)
    return judge._asker.key.reveal()  # type: ignore[attr-defined]


@pytest.fixture
def unreached(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers that nobody has asked anything, and that give no list of their models."""
    monkeypatch.setattr(opening, "served_models", lambda *_, **__: Served())


@pytest.mark.parametrize(
    ("url", "sent"),
    [
        ("https://api.example.org/v1", True),
        ("http://127.0.0.1:8000/v1", True),
        ("http://localhost:8000/v1", True),
        ("http://[::1]:8000/v1", True),
        ("http://10.0.0.7:8000/v1", False),
        ("http://gpu-box:8000/v1", False),
        ("http://localhost.example.org/v1", False),
        ("http://127.0.0.1.example.org/v1", False),
    ],
)
@pytest.mark.usefixtures("unreached")
def test_openai_s_key_goes_over_https_or_to_this_machine_and_the_judge_s_own_wherever_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, url: str, sent: bool
) -> None:
    caplog.set_level(logging.INFO, "evalsuite")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    assert key_sent_to(url) == (KEY if sent else "")
    assert ("OPENAI_API_KEY is not sent" in caplog.text) is not sent
    assert key_sent_to(url, api_key="given") == "given"
    monkeypatch.setenv("EVALSUITE_JUDGE_API_KEY", "own-key")
    assert key_sent_to(url) == "own-key"


def test_an_empty_key_sends_none_whatever_the_environment_has(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEY_VARIABLES:
        monkeypatch.setenv(name, KEY)
    with serving(lambda n, body: says("1")) as server:
        open_judge(server.url, api_key="").grade([question(0)])
        assert KEY not in str(server.keys)


@pytest.mark.parametrize(("given", "read"), [(None, None), ("", ""), (KEY, KEY)])
def test_the_option_tells_no_key_from_an_empty_one(given: str | None, read: str | None) -> None:
    values = {"--judge": "http://127.0.0.1:9/v1", "--judge-api-key": given}
    options = read_judge_options(values.get)
    assert options is not None
    assert (None if options.api_key is None else options.api_key.reveal()) == read


@pytest.mark.parametrize("key", [f"{KEY}\n", f"  {KEY}\r\n", f"\t{KEY}"], ids=repr)
def test_a_key_read_from_a_file_is_sent_without_its_line_break(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    with serving(lambda n, body: says("1")) as server:
        open_judge(server.url, api_key=key).grade([question(0)])
        monkeypatch.setenv("EVALSUITE_JUDGE_API_KEY", key)
        open_judge(server.url).grade([question(1)])
        assert server.keys == [f"Bearer {KEY}"] * 2


@pytest.mark.parametrize("spoilt", [f"{KEY}\nsecond-line", f"{KEY}é", f"“{KEY}”", f"{KEY}\x1b[0m"], ids=ascii)
def test_a_key_that_no_header_carries_is_named_by_its_source_and_not_repeated(
    monkeypatch: pytest.MonkeyPatch, spoilt: str
) -> None:
    expected = "expected printable ASCII alone.*character .* is none"
    with pytest.raises(ConfigError, match=rf"the key from --judge-api-key \(api_key\): {expected}") as given:
        open_judge("http://127.0.0.1:9/v1", api_key=spoilt)
    monkeypatch.setenv("EVALSUITE_JUDGE_API_KEY", spoilt)
    with pytest.raises(ConfigError, match=f"the key from EVALSUITE_JUDGE_API_KEY: {expected}") as set_:
        open_judge("http://127.0.0.1:9/v1")
    assert KEY not in f"{given.value} {set_.value}"


def test_a_model_that_the_server_does_not_list_is_refused_with_those_that_it_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected = rf"serves no model 'typo', but a, b; correct --judge-model or {MODEL_VARIABLE}"
    with serving(lambda n, body: says("1"), models=lists("a", "b")) as server:
        with pytest.raises(ConfigError, match=expected):
            open_judge(server.url, model="typo")
        monkeypatch.setenv(MODEL_VARIABLE, "typo")
        with pytest.raises(ConfigError, match=expected):
            open_judge(server.url)
        assert server.bodies == []


def test_a_name_without_its_tag_is_ollama_s_latest() -> None:
    with serving(lambda n, body: says("1"), models=lists("qwen3:latest", "gemma3:1b")) as server:
        assert open_judge(server.url, model="qwen3").name.startswith("qwen3 at ")
        with pytest.raises(ConfigError, match="serves no model 'gemma3'"):
            open_judge(server.url, model="gemma3")


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_server_that_is_still_starting_is_said_to_be_and_can_be_waited_for(status: int) -> None:
    with serving(lambda n, body: says("1"), models=fails(status, "loading", headers=AT_ONCE)) as server:
        with pytest.raises(JudgeError, match=rf"answered HTTP {status}: .*loading.* wait and try again, or name the"):
            open_judge(server.url)
        assert open_judge(server.url, model="x").grade([question(0)])["q/0"].value == 1.0


@pytest.mark.parametrize("models", [fails(404), Answer(body=b"{}"), lists()], ids=["none", "odd", "empty"])
def test_a_server_without_a_list_of_models_needs_a_name(models: Answer) -> None:
    with serving(lambda n, body: says("1"), models=models) as server:
        with pytest.raises(ConfigError, match="gives no list of its models; name one"):
            open_judge(server.url)
        assert open_judge(server.url, model="x").grade([question(0)])["q/0"].value == 1.0


def test_a_wrong_key_is_refused_at_once_and_not_repeated() -> None:
    with serving(lambda n, body: says("1"), models=fails(401, f"Incorrect API key: {KEY}")) as server:
        with pytest.raises(JudgeError, match="HTTP 401: the key is refused; set EVALSUITE_JUDGE_API_KEY") as caught:
            open_judge(server.url, model=MODEL, api_key=KEY)
        assert (server.probes, KEY in str(caught.value)) == (1, False)


def test_a_server_that_is_not_there_is_named_within_seconds() -> None:
    with serving(lambda n, body: says("1")) as server:
        url = server.url
    start = time.perf_counter()
    with pytest.raises(JudgeError, match=rf"expected an OpenAI-compatible server at {url}, got no connection: .*Start"):
        open_judge(url, model=MODEL)
    assert time.perf_counter() - start < 5


def test_a_server_that_does_not_answer_is_named() -> None:
    hanging = Answer(body=lists(MODEL).body, after_s=30)
    with (
        serving(lambda n, body: says("1"), models=hanging) as server,
        pytest.raises(JudgeError, match="got timeout: no answer within"),
    ):
        open_judge(server.url, timeout_s=0.1)


def test_a_web_page_is_no_judge() -> None:
    page = Answer(body=b"<html>", content_type="text/html")
    with (
        serving(lambda n, body: says("1"), models=page) as server,
        pytest.raises(JudgeError, match=r"expected an OpenAI-compatible server at .*, got no chat completion"),
    ):
        open_judge(server.url, model=MODEL)


@pytest.mark.parametrize(
    "where",
    [
        "",
        "localhost:8000",
        "ftp://host/v1",
        "local:",
        "nano",
        "http://",
        "http://h/v1?key=x",
        " http://h/v1",
        None,
        8000,
    ],
)
def test_what_is_no_place_of_a_judge_is_refused(where: str) -> None:
    with pytest.raises(ConfigError, match=r"expected http://host:port/v1 or local:MODEL"):
        open_judge(where)


@pytest.mark.parametrize(
    "where",
    [
        "http://localhost:99999/v1",
        "http://localhost:0/v1",
        "http://localhost:port/v1",
        "http://[::1/v1",
        "http://[::1]x/v1",
        "http://a..b/v1",
        "http://:8000/v1",
        f"http://{'a' * 70}/v1",
    ],
)
def test_a_host_or_port_that_is_none_is_refused_before_anyone_is_asked(where: str) -> None:
    with pytest.raises(ConfigError, match="whose host or port is none"):
        open_judge(where)


@pytest.mark.parametrize("where", ["HTTP://h:80/v1", "http://[fe80::1]:80/v1", "https://máy-chấm/v1", "http://h./v1"])
@pytest.mark.usefixtures("unreached")
def test_an_unusual_address_is_taken(where: str) -> None:
    assert open_judge(where, model="x").name == f"x at {where}"


@pytest.mark.parametrize(
    ("where", "shown"),
    [
        (f"http://me:{KEY}@host/v1", "***@host/v1"),
        (f"me:{KEY}@host:8000/v1", "***@host:8000/v1"),
        (f"{KEY}@host", "***@host"),
        (f"http://h/v1?api_key={KEY}", "http://h/v1?***"),
        (f"h:8000/v1?api_key={KEY}", "h:8000/v1?***"),
        (f"http://h/v1#{KEY}", "http://h/v1#***"),
        (f"http://me:what?{KEY}@host/v1", "'***'"),
        (f"http://h/v1?key={KEY}@x", "'***'"),
    ],
)
def test_an_address_that_may_hold_a_key_is_refused_and_its_secret_not_repeated(where: str, shown: str) -> None:
    with pytest.raises(ConfigError, match="give the key by EVALSUITE_JUDGE_API_KEY") as caught:
        open_judge(where)
    assert shown in str(caught.value)
    assert KEY[-6:] not in str(caught.value)


@pytest.mark.parametrize("settings", [{"timeout_s": 0}, {"concurrency": 0}, {"retries": -1}], ids=str)
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="expected a timeout above 0"):
        open_judge("http://127.0.0.1:9/v1", **settings)  # type: ignore[arg-type]


def test_a_local_model_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match="no such directory"):
        open_judge(f"local:{tmp_path / 'nothing'}")
    with pytest.raises(ConfigError, match="names its model already"):
        open_judge("local:nano", model="other")


def test_grades_that_cannot_be_kept_are_found_out_before_anything_is_asked(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with serving(lambda n, body: says("1")) as server:
        with pytest.raises(ConfigError, match=r"grades: expected a folder that can be written to.*choose another"):
            open_judge(server.url, grades=tmp_path / "file")
        open_judge(server.url, grades=tmp_path / "grades").grade([question(0)])
        (kept,) = (tmp_path / "grades").iterdir()
        kept.unlink()
        kept.mkdir()
        with pytest.raises(ConfigError, match=rf"Is a directory.*{kept.name}"):
            open_judge(server.url, grades=tmp_path / "grades")


def test_a_folder_of_grades_may_be_given_as_text_and_is_left_clean(tmp_path: Path) -> None:
    with serving(lambda n, body: says("1")) as server:
        judge = open_judge(server.url, grades=str(tmp_path / "a" / "b"))
        assert list((tmp_path / "a" / "b").iterdir()) == []
        assert [judge.grade([question(0)])["q/0"].reused for _ in range(2)] == [False, True]
    assert len(list((tmp_path / "a" / "b").iterdir())) == 1


@pytest.mark.parametrize("odd", ["sk-back\\slash'quote", 'sk-"quoted"', "sk-two\nlines", "sk-ééééé"], ids=ascii)
def test_a_key_is_hidden_as_python_and_json_write_it_too(odd: str) -> None:
    for written in (odd, repr(odd), ascii(odd), json.dumps(odd), repr(f"Bearer {odd}".encode())):
        assert "sk-" not in Secret(odd).hide(f"Illegal header value {written}")


def test_a_key_shows_itself_to_nobody() -> None:
    assert KEY not in f"{Secret(KEY)} {Secret(KEY)!r}"
    assert Secret(KEY).hide(f"<{KEY}>") == "<***>"
    assert Secret("EMPTY").hide("EMPTY") == "EMPTY"  # no secret, and a word that may stand anywhere
