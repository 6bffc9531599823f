// libcistern from Go, through cgo and the header itself. The same as blobs.py and blobs.rs do.
package main

/*
#include <stdlib.h>
#include "cistern.h"
*/
import "C"

import (
	"bytes"
	"fmt"
	"unsafe"
)

func must(code C.int32_t, failure *C.cistern_error) {
	if code != 0 {
		panic(C.GoString(&failure.message[0]))
	}
}

func expect(outcome C.int32_t, wanted C.int32_t) {
	if outcome != wanted {
		panic(fmt.Sprintf("outcome %d, not %d", outcome, wanted))
	}
}

func main() {
	const size = 100_000
	var failure C.cistern_error
	var node *C.cistern_node
	var client *C.cistern_client
	config := C.CString(`{"pool_bytes": "16MiB"}`)
	defer C.free(unsafe.Pointer(config))
	must(C.cistern_node_start(config, &node, &failure), &failure)
	must(C.cistern_node_connect(node, nil, &client, &failure), &failure)

	// Structs with pointers in them lie in C's memory: Go's may move.
	value, back := C.malloc(size), C.malloc(size)
	for i := 0; i < size; i++ {
		unsafe.Slice((*byte)(value), size)[i] = byte(i % 251)
	}
	key := C.cistern_name{data: C.CBytes([]byte("engine key")), bytes: 10}
	source := (*C.cistern_blob_source)(C.calloc(1, C.sizeof_cistern_blob_source))
	*source = C.cistern_blob_source{name: key, data: value, bytes: size}
	target := (*C.cistern_blob_target)(C.calloc(1, C.sizeof_cistern_blob_target))
	*target = C.cistern_blob_target{name: key, memory: back, bytes: size}

	var outcome C.int32_t = -1
	must(C.cistern_blobs_get(client, target, 1, 5000, &outcome, &failure), &failure)
	expect(outcome, C.CISTERN_GET_MISSING)
	must(C.cistern_blobs_put(client, source, 1, 5000, &outcome, &failure), &failure)
	expect(outcome, C.CISTERN_PUT_STORED)
	must(C.cistern_blobs_get(client, target, 1, 5000, &outcome, &failure), &failure)
	expect(outcome, C.CISTERN_GET_FILLED)
	if !bytes.Equal(unsafe.Slice((*byte)(value), size), unsafe.Slice((*byte)(back), size)) {
		panic("other bytes")
	}

	C.cistern_node_free(node)
	expect(C.cistern_blobs_get(client, target, 1, 5000, &outcome, &failure), C.CISTERN_UNAVAILABLE)
	text := C.GoString(&failure.message[0])
	if text == "" {
		panic("no text")
	}
	C.cistern_client_free(client)
	fmt.Println("stored, read back, and an error with its text:", text)
}
