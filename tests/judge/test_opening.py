"""From an address to a judge: found to be there, or refused at once with what to do."""

import time
from pathlib import Path

import pytest

from evalsuite.errors import ConfigError, JudgeError, ModelLoadError
from evalsuite.judge.opening import KEY_VARIABLES, MODEL_VARIABLE, open_judge
from evalsuite.judge.secret import Secret
from tests.judge.fake_server import KEY, MODEL, Answer, fails, lists, question, says, serving


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
    with serving(lambda n, body: says("1")) as server:
        open_judge(server.url).grade([question(0)])
        monkeypatch.setenv("EVALSUITE_JUDGE_API_KEY", "own-key")
        open_judge(server.url, model="named").grade([question(0)])
        open_judge(server.url, api_key=KEY).grade([question(0)])
        assert server.keys == ["Bearer openai-key", "Bearer own-key", f"Bearer {KEY}"]
        assert [body["model"] for body in server.bodies] == ["of-the-environment", "named", "of-the-environment"]


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
    "where", ["", "localhost:8000", "ftp://host/v1", "local:", "nano", "http://", "http://h/v1?key=x"]
)
def test_what_is_no_place_of_a_judge_is_refused(where: str) -> None:
    with pytest.raises(ConfigError, match=r"expected http://host:port/v1 or local:MODEL"):
        open_judge(where)


def test_a_password_in_the_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigError, match="without a user; give the key by EVALSUITE_JUDGE_API_KEY") as caught:
        open_judge(f"http://me:{KEY}@host/v1")
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("settings", [{"timeout_s": 0}, {"concurrency": 0}, {"retries": -1}], ids=str)
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="expected a timeout above 0"):
        open_judge("http://127.0.0.1:9/v1", **settings)  # type: ignore[arg-type]


def test_a_local_model_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match="no such directory"):
        open_judge(f"local:{tmp_path / 'nothing'}")
    with pytest.raises(ConfigError, match="names its model already"):
        open_judge("local:nano", model="other")


def test_a_key_shows_itself_to_nobody() -> None:
    assert KEY not in f"{Secret(KEY)} {Secret(KEY)!r}"
    assert Secret(KEY).hide(f"<{KEY}>") == "<***>"
    assert Secret("EMPTY").hide("EMPTY") == "EMPTY"  # no secret, and a word that may stand anywhere
