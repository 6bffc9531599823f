"""libcistern from ctypes: python3 blobs.py LIBRARY. The same as blobs.rs and blobs.go do."""

import ctypes
import sys


class Name(ctypes.Structure):
    _fields_ = [("data", ctypes.c_char_p), ("bytes", ctypes.c_size_t)]


class Blob(ctypes.Structure):
    _fields_ = [("name", Name), ("memory", ctypes.c_void_p), ("bytes", ctypes.c_size_t)]


class Error(ctypes.Structure):
    _fields_ = [("code", ctypes.c_int32), ("message", ctypes.c_char * 508)]


library = ctypes.CDLL(sys.argv[1])
library.cistern_node_free.argtypes = library.cistern_client_free.argtypes = [ctypes.c_void_p]
node, client, error = ctypes.c_void_p(), ctypes.c_void_p(), Error()


def must(code: int) -> None:
    assert code == 0, error.message


must(library.cistern_node_start(b'{"pool_bytes": "16MiB"}', ctypes.byref(node), ctypes.byref(error)))
must(library.cistern_node_connect(node, None, ctypes.byref(client), ctypes.byref(error)))

name = Name(b"engine key", 10)
value = (ctypes.c_char * 100_000)(*(b"%c" % (i % 251) for i in range(100_000)))
back = (ctypes.c_char * 100_000)()
outcome = ctypes.c_int32(-1)
for call, memory, expected in ((library.cistern_blobs_get, back, 1),   # missing
                               (library.cistern_blobs_put, value, 0),  # stored
                               (library.cistern_blobs_get, back, 0)):  # filled
    blob = Blob(name, ctypes.addressof(memory), 100_000)
    must(call(client, ctypes.byref(blob), ctypes.c_size_t(1), 5000, ctypes.byref(outcome), ctypes.byref(error)))
    assert outcome.value == expected, outcome.value
assert back.raw == value.raw

library.cistern_node_free(node)
code = library.cistern_blobs_get(client, ctypes.byref(blob), ctypes.c_size_t(1), 5000, ctypes.byref(outcome), ctypes.byref(error))
assert code == error.code == 14 and error.message, code
library.cistern_client_free(client)
print("stored, read back, and an error with its text: " + error.message.decode())
