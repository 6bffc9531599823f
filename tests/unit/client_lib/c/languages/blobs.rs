//! libcistern from Rust, without a crate. The same as blobs.py and blobs.go do.
use std::ffi::{c_char, c_void, CStr};
use std::ptr;

#[repr(C)]
struct Name {
    data: *const c_void,
    bytes: usize,
}
#[repr(C)]
struct Blob {
    name: Name,
    memory: *mut c_void,
    bytes: usize,
}
#[repr(C)]
struct Error {
    code: i32,
    message: [c_char; 508],
}
type Node = c_void;
type Client = c_void;

#[link(name = "cistern")]
extern "C" {
    fn cistern_node_start(config: *const c_char, node: *mut *mut Node, error: *mut Error) -> i32;
    fn cistern_node_connect(node: *mut Node, options: *const c_void, client: *mut *mut Client, error: *mut Error) -> i32;
    fn cistern_node_free(node: *mut Node);
    fn cistern_client_free(client: *mut Client);
    fn cistern_blobs_put(client: *mut Client, blobs: *const Blob, count: usize, deadline_ms: u32, outcomes: *mut i32, error: *mut Error) -> i32;
    fn cistern_blobs_get(client: *mut Client, blobs: *const Blob, count: usize, deadline_ms: u32, outcomes: *mut i32, error: *mut Error) -> i32;
}

fn text(error: &Error) -> String {
    unsafe { CStr::from_ptr(error.message.as_ptr()) }.to_string_lossy().into_owned()
}

fn main() {
    let mut error = Error { code: 0, message: [0; 508] };
    let (mut node, mut client) = (ptr::null_mut(), ptr::null_mut());
    let value: Vec<u8> = (0..100_000u32).map(|i| (i % 251) as u8).collect();
    let mut back = vec![0u8; value.len()];
    let name = b"engine key";
    let blob = |memory: *mut u8| Blob {
        name: Name { data: name.as_ptr().cast(), bytes: name.len() },
        memory: memory.cast(),
        bytes: 100_000,
    };
    unsafe {
        let config = b"{\"pool_bytes\": \"16MiB\"}\0";
        assert_eq!(cistern_node_start(config.as_ptr().cast(), &mut node, &mut error), 0, "{}", text(&error));
        assert_eq!(cistern_node_connect(node, ptr::null(), &mut client, &mut error), 0, "{}", text(&error));
        let mut outcome = -1;
        assert_eq!(cistern_blobs_get(client, &blob(back.as_mut_ptr()), 1, 5000, &mut outcome, &mut error), 0, "{}", text(&error));
        assert_eq!(outcome, 1, "missing");
        assert_eq!(cistern_blobs_put(client, &blob(value.as_ptr().cast_mut()), 1, 5000, &mut outcome, &mut error), 0, "{}", text(&error));
        assert_eq!(outcome, 0, "stored");
        assert_eq!(cistern_blobs_get(client, &blob(back.as_mut_ptr()), 1, 5000, &mut outcome, &mut error), 0, "{}", text(&error));
        assert_eq!(outcome, 0, "filled");
        assert_eq!(back, value);

        cistern_node_free(node);
        let code = cistern_blobs_get(client, &blob(back.as_mut_ptr()), 1, 5000, &mut outcome, &mut error);
        assert_eq!((code, error.code), (14, 14));
        assert!(!text(&error).is_empty());
        cistern_client_free(client);
    }
    println!("stored, read back, and an error with its text: {}", text(&error));
}
