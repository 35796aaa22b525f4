"""The device that runs is the one that was asked for, or the error says what to do."""

import numpy as np
import onnx
import onnxruntime
import pytest

from crestereo import CREStereo, ModelFileError, ProviderError, UsageError
from crestereo.session import DEVICES, open_session, runtime_errors
from tests import tiny_models

ABSENT = [
    device
    for device, provider in (
        ("cuda", "CUDAExecutionProvider"),
        ("tensorrt", "TensorrtExecutionProvider"),
        ("coreml", "CoreMLExecutionProvider"),
        ("openvino", "OpenVINOExecutionProvider"),
        ("directml", "DmlExecutionProvider"),
    )
    if provider not in onnxruntime.get_available_providers()
]


class Pretender:
    """Stand in for a session on a device that this machine does not have."""

    def __init__(self, session, provider, broken=False):
        self._session, self._provider, self._broken = session, provider, broken

    def get_providers(self):
        return [self._provider, "CPUExecutionProvider"]

    def run(self, *arguments):
        if self._broken:
            raise RuntimeError("the driver is too old")
        return self._session.run(*arguments)

    def __getattr__(self, name):
        return getattr(self._session, name)


@pytest.fixture
def model(tmp_path):
    return tiny_models.init_model(tmp_path / "m.onnx")


@pytest.fixture
def machine(monkeypatch):
    """Pretend a machine: which provider runs when it is asked for, and whether it computes."""

    def pretend(asked_for, runs=None, broken=False):
        real = onnxruntime.InferenceSession

        def open_it(path, options, providers, **settings):
            session = real(path, options, providers=["CPUExecutionProvider"], **settings)
            if providers[0][0] != asked_for:
                return session
            return Pretender(session, runs or asked_for, broken)

        monkeypatch.setattr(onnxruntime, "InferenceSession", open_it)
        monkeypatch.setattr(
            onnxruntime, "get_available_providers", lambda: [asked_for, "CPUExecutionProvider"]
        )

    return pretend


@pytest.mark.parametrize("device", ABSENT)
def test_a_device_that_is_not_installed_says_what_to_install(device, model):
    with pytest.raises(ProviderError, match=rf"'{device}' needs .* install onnxruntime"):
        CREStereo(model, device=device)


def test_an_unknown_device_is_refused_with_the_choices(model):
    with pytest.raises(UsageError, match=", ".join(DEVICES)):
        CREStereo(model, device="quantum")


def test_the_processor_is_always_there(model):
    assert CREStereo(model, device="cpu").provider == "CPUExecutionProvider"


def test_auto_takes_the_best_device_that_computes(model, machine):
    machine("CUDAExecutionProvider")
    assert CREStereo(model).provider == "CUDAExecutionProvider"


@pytest.mark.parametrize("trouble", [{"broken": True}, {"runs": "CPUExecutionProvider"}])
def test_auto_falls_back_to_the_processor(trouble, model, machine):
    machine("CUDAExecutionProvider", **trouble)
    estimator = CREStereo(model)
    assert estimator.provider == "CPUExecutionProvider"
    assert estimator(np.zeros((64, 96, 3), np.uint8), np.zeros((64, 96, 3), np.uint8)).shape == (
        64,
        96,
    )


def test_a_device_that_silently_gives_way_is_an_error_when_asked_for(model, machine):
    machine("CUDAExecutionProvider", runs="CPUExecutionProvider")
    with pytest.raises(ProviderError, match="CPUExecutionProvider would run; check the driver"):
        CREStereo(model, device="cuda")


def test_the_trial_runs_on_every_kind_of_input(machine, tmp_path):
    machine("CUDAExecutionProvider")
    makers = (tiny_models.lite_model, tiny_models.combined_model, tiny_models.slow_model)
    for maker in makers:
        path = maker(
            tmp_path / f"{maker.__name__}.onnx", **({"rounds": 1} if maker is makers[2] else {})
        )
        assert CREStereo(path).provider == "CUDAExecutionProvider"


def test_directml_gets_the_options_it_needs(model, machine):
    machine("DmlExecutionProvider")
    session = open_session(model, device="directml")
    assert not session.get_session_options().enable_mem_pattern
    assert open_session(model, device="cpu").get_session_options().enable_mem_pattern


def test_threads_reach_the_runtime(model):
    session = open_session(model, device="cpu", threads=1)
    assert session.get_session_options().intra_op_num_threads == 1
    with pytest.raises(UsageError, match="threads must be from 1"):
        open_session(model, threads=0)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html>404</html>", "web page"),
        (b"\n <HTML><body>moved</body>", "web page"),
        (b"\x1f\x8b\x08 not a model", "damaged or cut off"),
        (None, "there is no model file"),
    ],
)
@pytest.mark.parametrize("device", ["auto", "cpu"])
def test_what_is_no_model_is_refused_in_one_sentence(device, content, words, tmp_path, capfd):
    path = tmp_path / "m.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelFileError, match=words) as error:
        CREStereo(path, device=device)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    assert capfd.readouterr() == ("", "")  # the runtime does not talk over us


def test_a_truncated_model_is_refused(model):
    model.write_bytes(model.read_bytes()[:-40])
    with pytest.raises(ModelFileError, match="damaged or cut off"):
        CREStereo(model)


@pytest.mark.parametrize(
    ("ir_version", "opset", "op"), [(99, 17, "Add"), (8, 99, "Add"), (8, 17, "Fly")]
)
def test_a_model_that_is_too_new_is_not_called_damaged(ir_version, opset, op, tmp_path):
    sides = [1, 3, 64, 96]
    left, right, output = (
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, sides)
        for name in ("left", "right", "output")
    )
    node = onnx.helper.make_node(op, ["left", "right"], ["output"])
    graph = onnx.helper.make_graph([node], "new", [left, right], [output])
    versions = [onnx.helper.make_opsetid("", opset)]
    model = onnx.helper.make_model(graph, opset_imports=versions, ir_version=ir_version)
    path = tmp_path / "new.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelFileError, match=r"new\.onnx needs a newer onnxruntime than"):
        open_session(path)


def test_a_folder_is_no_model(tmp_path):
    with pytest.raises(ModelFileError, match="cannot read the model file"):
        CREStereo(tmp_path)


def test_every_error_of_the_runtime_is_known():
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    assert {state.Fail, state.InvalidProtobuf, state.InvalidArgument, state.NoSuchFile} <= set(
        runtime_errors()
    )
