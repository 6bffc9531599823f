"""Models, exceptions, programs, type hints."""

import inspect
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time
import traceback

import numpy as np
import pytest

import cistern
from conftest import Worker, some_tokens


def test_models():
    model = cistern.Model.preset("deepseek-v3")
    assert (model.num_layers, model.row_bytes, model.rotary_bytes) == (61, 1152, 128)
    assert cistern.Model.from_json(model.to_json()) == model
    assert cistern.Model.from_json(model.to_json()).fingerprint == model.fingerprint
    assert cistern.Model.preset("deepseek-v3", layers=2) != model
    assert model != None and model != "deepseek-v3"  # noqa: E711
    hybrid = cistern.Model.preset("qwen3-next")
    assert (hybrid.state_layers, hybrid.temporal_bytes) == (36, 2097152)
    config = {"architectures": ["DeepseekV2ForCausalLM"], "num_hidden_layers": 3, "kv_lora_rank": 512,
              "qk_rope_head_dim": 64, "rope_theta": 10000, "max_position_embeddings": 4096}
    assert cistern.Model.from_config(json.dumps(config), "mine", "1").num_layers == 3
    with pytest.raises(ValueError, match="deepseek-v2-lite"):
        cistern.Model.preset("nonsense")
    with pytest.raises(cistern.InvalidArgument):
        cistern.Model.from_json("{}")


def test_each_code_has_a_class():
    for name in cistern.errors.__all__:
        cls = getattr(cistern.errors, name)
        assert issubclass(cls, cistern.Error)
        if cls is not cistern.Error:
            assert type(cistern.errors.of_status(cls.code, "text")) is cls
    assert issubclass(cistern.Unavailable, ConnectionError)
    unknown = cistern.errors.of_status(11, "text")
    assert type(unknown) is cistern.Error and unknown.code == 11


def test_no_node():
    with pytest.raises(cistern.Unavailable, match="/nonexistent/node.sock") as raised:
        cistern.connect("unix:/nonexistent/node.sock", connect_timeout=0.2)
    assert raised.value.code == 14
    with pytest.raises(cistern.InvalidArgument, match="unknown arithmetic 'x'; there are fp32_table"):
        cistern.connect("unix:/nonexistent/node.sock", arithmetic="x")
    with pytest.raises(cistern.InvalidArgument, match="pool_bytes"):
        cistern.Node(pool_bites="1GiB")


def test_a_node_that_is_just_starting_is_waited_for(tmp_path):
    socket = tmp_path / "node.sock"
    program = shutil.which("cistern-server", path=os.environ["CISTERN_PROGRAMS"])
    process = subprocess.Popen(["sh", "-c", 'kill -STOP $$; exec "$@"', "sh", program, f"--unix_socket={socket}",
                                "--ucx_address=", "--pool_bytes=64MiB", "--log_level=error"])
    waited = []

    def go_on(_, frame):  # as soon as what it interrupts is `connect`
        while frame is not None and frame.f_code is not cistern.connect.__code__:
            frame = frame.f_back
        if frame is not None and not waited:
            waited.append(not socket.exists())
            process.send_signal(signal.SIGCONT)

    before = signal.signal(signal.SIGALRM, go_on)
    try:
        os.waitpid(process.pid, os.WUNTRACED)  # it has stopped
        signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
        with cistern.connect(f"unix:{socket}", connect_timeout=60) as client:
            assert client.blobs.find(["any"]) == [0]
        assert waited == [True], "it did not listen when it was asked"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        process.kill()
        process.wait()


def test_an_interrupt_ends_the_wait_for_a_node():
    program = """if True:
        import os, signal, cistern
        signal.signal(signal.SIGINT, signal.default_int_handler)  # also where the tests run in the background
        try:
            print("begins", flush=True)
            cistern.connect("unix:/nonexistent/node.sock", connect_timeout=600)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
            os._exit(0)  # whatever is left of the attempt
    """
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "begins\n"
        time.sleep(0.2)  # most likely it waits now
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=60)[0] == "interrupted\n"
    finally:
        process.kill()
        process.wait()


def test_a_salt_is_not_shown(node):
    for salt in ("tenant-secret", 20070315, 2007.0315):
        with pytest.raises(TypeError, match=f"^salt is a {type(salt).__name__}, not a bytes$") as raised:
            node.connect(salt=salt)
        shown = "".join(traceback.format_exception(None, raised.value.__context__, None))
        assert str(salt) not in shown, "nor by what it stands in for"


def test_wrong_options_are_named(node):
    for options, says in (({"fetch_threads": -1}, "fetch_threads is a int -1"),
                          ({"name": 3}, "name is a int 3, not a str"), ({"connect_timeout": "5"}, "connect_timeout is a str '5'"),
                          ({"max_staging_bytes": 2**70}, "max_staging_bytes is a int"), ({"timeout": 5}, "timeout")):
        with pytest.raises(TypeError, match=says):
            node.connect(**options)
    with pytest.raises(TypeError, match="address is a int, not a str"):
        cistern.connect(5)


def test_a_closed_client_says_so(node, model):
    client = node.connect()
    assert repr(client) == "<cistern.Client of a node in this process>"
    client.close()
    assert repr(client) == "<cistern.Client of a node in this process, closed>"
    with pytest.raises(cistern.FailedPrecondition, match="closed"):
        client.plan(model, [1, 2, 3])


def test_a_node_that_goes(model):
    node = cistern.Node(pool_bytes="64MiB")
    client = node.connect()
    tokens = some_tokens(500)
    worker = Worker(model, 500)
    worker.prefill(tokens)
    client.publish(model, tokens, worker.cache)
    plan = client.plan(model, tokens, deadline=20)
    node.stop()
    other = Worker(model, 500)
    result = client.fetch(plan, other.cache).wait()
    assert result.missing == [(0, 499)] or other.holds(tokens, 0, 499)
    with pytest.raises(cistern.Unavailable):
        client.blobs.find(["any"])


def test_another_process(server, model):
    address, process = server
    tokens = some_tokens(1500)
    with cistern.connect(address, name="pytest") as client:
        assert repr(client) == f"<cistern.Client of {address}>"
        worker = Worker(model, 1500)
        worker.prefill(tokens)
        client.publish(model, tokens, worker.cache)
    with cistern.connect(address, want_mapping=False) as client:
        worker = Worker(model, 1500)
        result = client.fetch(client.plan(model, tokens, deadline=20), worker.cache).wait()
        assert result.mapped_bytes == 0 and worker.holds(tokens, 0, 1499)
        plan = client.plan(model, tokens, deadline=20)
        process.kill()
        process.wait()
        result = client.fetch(plan, Worker(model, 1500).cache, deadline=5).wait()
        assert result.missing == [(0, 1499)]
        with pytest.raises(cistern.Unavailable):
            client.plan(model, tokens)


def test_the_programs(server):
    address, _ = server
    environment = dict(os.environ, PATH=os.environ["CISTERN_PROGRAMS"] + ":" + os.environ["PATH"])
    shown = subprocess.run([sys.executable, "-m", "cistern.server", "--help"], env=environment, capture_output=True,
                           text=True, check=False)
    assert "--unix_socket" in shown.stdout + shown.stderr
    status = subprocess.run([sys.executable, "-c", "from cistern._programs import cistern; cistern()",
                             "--address", address, "--json", "status"], env=environment, capture_output=True, text=True,
                            check=True)
    assert json.loads(status.stdout)["leases"] == 0


def test_everything_public_is_documented():
    for name in cistern.__all__:
        thing = getattr(cistern, name)
        if not inspect.isclass(thing) or issubclass(thing, Exception):
            continue
        for attribute, member in vars(thing).items():
            if not attribute.startswith("_") and inspect.isfunction(member) and member.__name__ not in (
                    "close", "cancel", "stop"):
                assert member.__doc__, f"{name}.{attribute}"
    for cls in (cistern.State, cistern.PagedCache, cistern.Plan, cistern.FetchResult, cistern.Resume, cistern.Span,
                cistern.BlobView, cistern.Model):
        assert cls.__doc__, cls
    package = pathlib.Path(cistern.__file__).parent
    assert (package / "py.typed").exists()
    assert "class PagedCache" in (package / "_native.pyi").read_text()
