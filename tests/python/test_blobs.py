"""Blobs: bytes by name, put, found, read by copy and in place."""

import gc

import numpy as np
import pytest

import cistern


def test_put_find_get(client):
    pages = {f"page {i}": np.full(1000 + i, i, np.uint8) for i in range(200)}
    assert set(client.blobs.put(pages, deadline=20).values()) == {"stored"}
    assert client.blobs.put({"page 3": b"other bytes"}) == {"page 3": "had"}
    assert client.blobs.find(["page 3", "unknown", b"page 4"]) == [1003, 0, 1004]
    into = {name: np.zeros_like(page) for name, page in pages.items()}
    into["unknown"] = bytearray(10)
    got = client.blobs.get(into, deadline=20)
    assert not got.pop("unknown") and all(got.values())
    assert all(np.array_equal(into[name], page) for name, page in pages.items())


def test_any_dense_array(client):
    array = np.arange(60, dtype=np.float32).reshape(3, 4, 5)
    client.blobs.put({b"\x00\xff": array, "bytes": b"abc", "view": memoryview(array)})
    into = np.zeros((3, 4, 5), np.float32)
    assert client.blobs.get({b"\x00\xff": into}) == {b"\x00\xff": True}
    assert np.array_equal(into, array)
    assert client.blobs.find(["bytes", "view"]) == [3, 240]


def test_what_is_wrong_is_named(client):
    with pytest.raises(cistern.InvalidArgument, match="'sparse' does not lie densely"):
        client.blobs.put({"sparse": np.zeros((4, 4))[:, ::2]})
    with pytest.raises(cistern.InvalidArgument, match="a blob of 0 bytes"):
        client.blobs.put({"empty": b""})
    with pytest.raises(cistern.InvalidArgument, match="writable"):
        client.blobs.get({"name": b"immutable"})
    with pytest.raises(cistern.InvalidArgument, match="neither bytes nor str"):
        client.blobs.find([3])
    with pytest.raises(cistern.InvalidArgument, match="a blob of 0 bytes"):
        client.blobs.put({b"\xff\xfe": b""})
    with pytest.raises(cistern.InvalidArgument, match=r"'\\xff'"):
        client.blobs.get({b"\xff": b"immutable"})
    client.blobs.put({"name": b"12345"})
    with pytest.raises(cistern.InvalidArgument, match="another size than its array's 4"):
        client.blobs.get({"name": bytearray(4)})


def test_a_view_is_the_nodes_memory(node, client):
    page = np.random.default_rng(1).integers(0, 256, 200_000, dtype=np.uint8)
    client.blobs.put({"page": page})
    view, missing = client.blobs.view(["page", "unknown"])
    assert missing is None and view.nbytes == 200_000
    arrays = view.arrays
    assert np.array_equal(np.concatenate(arrays), page)
    assert view.still_there()
    with pytest.raises(ValueError):
        arrays[0][0] = 1
    del view
    gc.collect()
    # The array alone keeps the lease: what pushes everything else out does not touch it.
    flood = {f"flood {i}": np.full(8 << 20, i, np.uint8) for i in range(16)}
    for name, bytes_ in flood.items():
        client.blobs.put({name: bytes_}, deadline=20)
    assert np.array_equal(np.concatenate(arrays), page)
    assert client.blobs.find(["page"]) == [200_000]
    del arrays
    gc.collect()
    for name in [f"again {i}" for i in range(16)]:
        client.blobs.put({name: flood["flood 1"]}, deadline=20)
    assert client.blobs.find(["page"]) == [0]


def test_a_view_needs_the_mapping(node):
    with node.connect(want_mapping=False) as client:
        client.blobs.put({"page": b"abc"})
        with pytest.raises(cistern.FailedPrecondition, match="not mapped"):
            client.blobs.view(["page"])
        into = bytearray(3)
        assert client.blobs.get({"page": into}) == {"page": True} and into == b"abc"


def test_pin(client):
    client.blobs.put({"kept": b"abc"})
    assert client.blobs.pin(["kept", "unknown"]) == 1
    for i in range(16):
        client.blobs.put({f"flood {i}": np.zeros(8 << 20, np.uint8)}, deadline=20)
    assert client.blobs.find(["kept"]) == [3]
    assert client.blobs.pin(["kept"], pinned=False) == 1


def test_salts_are_tenants(node, client):
    client.blobs.put({"name": b"mine"})
    with node.connect(salt=b"another") as other:
        assert other.blobs.find(["name"]) == [0]


def test_a_view_as_buffer_bytes_and_array(client):
    page = np.random.default_rng(1).integers(0, 256, 5000, dtype=np.uint8)
    client.blobs.put({"page": page})
    view = client.blobs.view(["page"])[0]
    assert len(view.arrays) == 1 and len(view) == view.nbytes == 5000
    assert repr(view) == "<cistern.BlobView of 5000 bytes in 1 pieces>"
    assert bytes(view) == page.tobytes()
    array = np.asarray(view)
    assert array.dtype == np.uint8 and np.array_equal(array, page)
    assert array.ctypes.data == view.arrays[0].ctypes.data, "the node's memory"
    assert not array.flags.writeable and memoryview(view).readonly
    assert np.array_equal(np.array(view, np.uint16), page), "converted: a copy"
    copied = view.__array__(copy=True)
    assert copied.flags.writeable and copied.ctypes.data != array.ctypes.data
    buffer = memoryview(view)
    del view, array
    gc.collect()
    for i in range(16):
        client.blobs.put({f"flood {i}": np.zeros(8 << 20, np.uint8)}, deadline=20)
    assert buffer.tobytes() == page.tobytes(), "the buffer keeps the lease"
    assert client.blobs.find(["page"]) == [5000]


def view_in_pieces(client):
    """A blob that found room only between others, which must not move, and its view."""
    small = np.zeros(300_000, np.uint8)
    names = [f"small {i}" for i in range(240)]
    for name in names:
        client.blobs.put({name: small}, deadline=20)
    client.blobs.pin(names[::2])
    page = np.random.default_rng(2).integers(0, 256, 5_000_000, dtype=np.uint8)
    client.blobs.put({"scattered": page}, deadline=20)
    view = client.blobs.view(["scattered"])[0]
    assert len(view.arrays) > 1
    return page, view


def test_a_view_in_several_pieces_is_copied(client):
    page, view = view_in_pieces(client)
    assert repr(view) == f"<cistern.BlobView of 5000000 bytes in {len(view.arrays)} pieces>"
    assert bytes(view) == page.tobytes()
    assert np.array_equal(np.asarray(view), page)
    assert np.array_equal(view.__array__(np.uint16), page)
    with pytest.raises(BufferError, match="several pieces"):
        memoryview(view)
    with pytest.raises(ValueError, match="several pieces"):
        view.__array__(copy=False)


def test_one_name_is_no_sequence_of_names(client):
    for call in (client.blobs.find, client.blobs.view, client.blobs.pin):
        for name in ("page", b"page"):
            with pytest.raises(cistern.InvalidArgument, match=r"names is one name; a sequence of them"):
                call(name)
        with pytest.raises(cistern.InvalidArgument, match="names is a int"):
            call(3)
    for call in (client.blobs.put, client.blobs.get):
        with pytest.raises(cistern.InvalidArgument, match="blobs is a str, not a mapping"):
            call("page")
    assert client.blobs.find(name for name in ("a", b"b")) == [0, 0]
    with pytest.raises(cistern.InvalidArgument, match="neither bytes nor str"):
        client.blobs.find(["\ud800"])


@pytest.mark.parametrize("deadline", [0, -1, float("nan"), -0.0])
def test_a_deadline_is_positive(client, deadline):
    calls = (lambda: client.blobs.find(["a"], deadline=deadline), lambda: client.blobs.view(["a"], deadline=deadline),
             lambda: client.blobs.put({"a": b"b"}, deadline=deadline), lambda: client.blobs.pin(["a"], deadline=deadline),
             lambda: client.blobs.get({"a": bytearray(1)}, deadline=deadline))
    for call in calls:
        with pytest.raises(cistern.InvalidArgument, match="deadline is .*: a positive number"):
            call()
    assert client.blobs.find(["a"], deadline=float("inf")) == [0]


def test_a_wrong_type_is_named(client):
    with pytest.raises(TypeError, match="deadline is a str 'soon', not a number"):
        client.blobs.find(["a"], deadline="soon")
    with pytest.raises(TypeError, match="pinned is a int 3, not a bool"):
        client.blobs.pin(["a"], pinned=3)
