"""Caches in GPU memory. What needs a device is skipped where there is none; that an array says where it lies is always heard."""

import ctypes

import numpy as np
import pytest

import cistern
from conftest import BLOCK_TOKENS, LAYERS, some_tokens


class Tensor(ctypes.Structure):  # DLTensor, then the rest of DLManagedTensor
    _fields_ = [("data", ctypes.c_void_p), ("device_type", ctypes.c_int32), ("device_id", ctypes.c_int32),
                ("ndim", ctypes.c_int32), ("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16),
                ("shape", ctypes.POINTER(ctypes.c_int64)), ("strides", ctypes.c_void_p), ("offset", ctypes.c_uint64),
                ("manager", ctypes.c_void_p), ("deleter", ctypes.c_void_p)]


class Elsewhere:
    """An array of 16-bit integers that says it lies in memory of another kind. 2: CUDA, 3: pinned by CUDA, 10: ROCm."""

    def __init__(self, shape, device_type, device_id=0):
        self.memory = np.zeros(shape, np.uint16)
        self.shape = (ctypes.c_int64 * len(shape))(*shape)
        self.tensor = Tensor(self.memory.ctypes.data, device_type, device_id, len(shape), 1, 16, 1, self.shape)

    def __dlpack_device__(self):
        return self.tensor.device_type, self.tensor.device_id

    def __dlpack__(self, **_):
        new = ctypes.pythonapi.PyCapsule_New
        new.restype, new.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
        return new(ctypes.addressof(self.tensor), b"dltensor", None)


SHAPE = (LAYERS, 4, BLOCK_TOKENS, 576)


def test_a_device_that_is_not_there_is_named():
    with pytest.raises((cistern.Unavailable, cistern.Unimplemented), match="CUDA"):
        cistern.PagedCache(Elsewhere(SHAPE, 2, device_id=63), range(4))


def test_memory_of_another_kind_is_refused():
    with pytest.raises(cistern.Unimplemented, match="layers lies neither in host memory nor in that of a CUDA device"):
        cistern.PagedCache(Elsewhere(SHAPE, 10), range(4))


def test_pinned_memory_is_host_memory(client, model):
    tokens = some_tokens(4 * BLOCK_TOKENS)
    pinned = Elsewhere(SHAPE, 3)
    pinned.memory[:] = np.arange(pinned.memory.size, dtype=np.uint32).reshape(SHAPE)
    client.publish(model, tokens, cistern.PagedCache(pinned, range(4)))
    back = np.zeros(SHAPE, np.uint16)
    client.fetch(client.plan(model, tokens, compute_last_token=False, deadline=20), cistern.PagedCache(back, range(4))).wait()
    assert np.array_equal(back, pinned.memory)


def test_rows_of_a_gpu(client, model):
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("there is no CUDA device")
    tokens = some_tokens(200)
    computed = torch.randn(LAYERS, 13, 16, 576, device="cuda").to(torch.bfloat16)
    raw = [torch.randn(200, 64, device="cuda").to(torch.bfloat16) for _ in range(LAYERS)]
    torch.cuda.synchronize()
    client.publish(model, tokens, cistern.PagedCache(computed, range(13)), pre_rope=raw)
    fetched, raw_back = torch.zeros_like(computed), [torch.zeros_like(layer) for layer in raw]
    torch.cuda.synchronize()
    plan = client.plan(model, tokens, compute_last_token=False, deadline=20)
    client.fetch(plan, cistern.PagedCache(fetched, range(13)), pre_rope=raw_back, pre_rope_everywhere=True).wait()
    assert torch.equal(fetched[:, :12, :, :512], computed[:, :12, :, :512])
    assert all(torch.equal(a, b) for a, b in zip(raw, raw_back))
    with pytest.raises(cistern.InvalidArgument, match="pre_rope"):
        client.publish(model, tokens, cistern.PagedCache(computed, range(13)), pre_rope=[layer.cpu() for layer in raw])
