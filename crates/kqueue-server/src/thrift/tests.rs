//! Frames byte by byte: those of every method, hostile ones, and any split of the stream.

mod chunks;
mod golden;
mod hostile;

use super::*;

const ITEM_BYTES_MAX: usize = 100;

fn codec() -> Thrift {
    Thrift::new(Limits::new(ITEM_BYTES_MAX))
}

/// With its length before it.
fn frame(content: &[u8]) -> Vec<u8> {
    [&(content.len() as u32).to_be_bytes(), content].concat()
}

/// The frame of a message; kind 1 is a call, 4 one without a reply.
fn message(kind: u8, name: &str, sequence: i32, arguments: &[u8]) -> Vec<u8> {
    let header = [0x80, 1, 0, kind];
    frame(&[&header, &string(name.as_bytes())[..], &sequence.to_be_bytes(), arguments].concat())
}

fn call(name: &str, sequence: i32, fields: &[Vec<u8>]) -> Vec<u8> {
    message(1, name, sequence, &[&fields.concat()[..], &[0]].concat())
}

fn string(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_be_bytes(), bytes].concat()
}

fn field(kind: u8, id: i16, value: &[u8]) -> Vec<u8> {
    [&[kind][..], &id.to_be_bytes(), value].concat()
}

fn text(id: i16, text: &[u8]) -> Vec<u8> {
    field(11, id, &string(text))
}

fn number(id: i16, number: i32) -> Vec<u8> {
    field(8, id, &number.to_be_bytes())
}

fn items(id: i16, items: &[&[u8]]) -> Vec<u8> {
    let head = [&[11][..], &(items.len() as u32).to_be_bytes()].concat();
    let items: Vec<u8> = items.iter().flat_map(|item| string(item)).collect();
    field(15, id, &[head, items].concat())
}

fn ids(id: i16, ids: &[i64]) -> Vec<u8> {
    let head = [&[10][..], &(ids.len() as u32).to_be_bytes()].concat();
    let ids: Vec<u8> = ids.iter().flat_map(|id| id.to_be_bytes()).collect();
    field(14, id, &[head, ids].concat())
}

/// The one request in these bytes.
fn request(codec: &mut Thrift, bytes: &[u8]) -> Request {
    let mut input = BytesMut::from(bytes);
    let request = codec.decode(&mut input).expect("not fatal").expect("a whole frame");
    assert!(input.is_empty());
    assert!(!codec.is_mid_request(&input));
    request
}

fn reply(codec: &mut Thrift, response: &Response) -> Vec<u8> {
    let mut out = BytesMut::from(&b"before"[..]);
    let encoded = codec.encode(response, &mut out);
    assert!(encoded.body.is_none() && encoded.tail.is_empty());
    assert!(out.starts_with(b"before"));
    out[6..].to_vec()
}

/// What a peer is told that breaks off with this.
fn fatal_reply(bytes: &[u8]) -> Vec<u8> {
    let mut codec = codec();
    let mut input = BytesMut::from(bytes);
    let fatal = codec.decode(&mut input).expect_err("it is fatal");
    assert!(input.is_empty());
    input.extend_from_slice(&call("get_version", 1, &[]));
    assert_eq!(codec.decode(&mut input), Err(fatal.clone()), "nothing behind it is looked at");
    assert!(input.is_empty() && !codec.is_mid_request(&input));
    reply(&mut codec, &Response::from(&fatal))
}

/// The frame of an exception.
fn exception(name: &str, sequence: i32, kind: i32, reason: &str) -> Vec<u8> {
    message(3, name, sequence, &[text(1, reason.as_bytes()), number(2, kind), vec![0]].concat())
}
