//! A protocol of the simulator's own for the requests that no line protocol of the server's has: one line each, and the bodies behind it.
//!
//! ```text
//! putall <queue> <after_ms> <bytes>…           COUNT <n>
//! <bodies>
//! fetch <queue> <max> <wait_ms> <auto_abort_ms>  FETCHED <n>, then n times GOT <number> <bytes> and the body
//! settle <confirm|abort> <number>…             COUNT <n>
//! info <queue>                                 INFO <items> <open>, and HEAD <bytes> and the body if there is one
//! ```
//!
//! Must not: be lenient; whoever writes it is in the same program.

use std::str::FromStr;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kqueue_broker::{Body, Codec, Encoded, Expiry, Fatal, Request, Response};

/// See the module's description.
#[derive(Debug)]
pub(crate) struct Lines;

impl Codec for Lines {
    fn decode(&mut self, input: &mut BytesMut) -> Result<Option<Request>, Fatal> {
        let Some(end) = input.iter().position(|&byte| byte == b'\n') else { return Ok(None) };
        let line = std::str::from_utf8(&input[..end]).expect("written by the simulator");
        let words: Vec<&str> = line.split(' ').collect();
        let key = Bytes::copy_from_slice(words[1].as_bytes());
        let request = match words[0] {
            "putall" => {
                let lengths: Vec<usize> = words[3..].iter().map(|word| number(word)).collect();
                let after_ms = number(words[2]);
                if input.len() < end + 1 + lengths.iter().sum::<usize>() {
                    return Ok(None);
                }
                input.advance(end + 1);
                let mut body = |length| Body::Bytes(input.split_to(length).freeze());
                let bodies = lengths.into_iter().map(&mut body).collect();
                return Ok(Some(Request::PutAll {
                    key,
                    expiry: Expiry::AfterMs(after_ms),
                    bodies,
                }));
            }
            "fetch" => Request::Fetch {
                key,
                max: number(words[2]),
                wait_ms: number(words[3]),
                auto_abort_ms: number(words[4]),
            },
            "settle" => Request::Settle {
                ids: words[2..].iter().map(|word| number(word)).collect(),
                abort: words[1] == "abort",
            },
            "info" => Request::QueueInfo { key },
            other => unreachable!("{other:?} is no request"),
        };
        input.advance(end + 1);
        Ok(Some(request))
    }

    fn is_mid_request(&self, input: &BytesMut) -> bool {
        !input.is_empty()
    }

    fn encode<'r>(&mut self, response: &'r Response, head: &mut BytesMut) -> Encoded<'r> {
        match response {
            Response::Count(count) => head.put_slice(format!("COUNT {count}\r\n").as_bytes()),
            Response::Fetched(items) => {
                head.put_slice(format!("FETCHED {}\r\n", items.len()).as_bytes());
                for item in items {
                    let line = format!("GOT {} {}\r\n", item.id, item.body.len());
                    head.put_slice(line.as_bytes());
                    head.put_slice(&item.body);
                    head.put_slice(b"\r\n");
                }
            }
            Response::QueueInfo(info) => {
                let figures = format!("INFO {} {}\r\n", info.items, info.open_transactions);
                head.put_slice(figures.as_bytes());
                if let Some(body) = &info.head {
                    head.put_slice(format!("HEAD {}\r\n", body.len()).as_bytes());
                    head.put_slice(body);
                    head.put_slice(b"\r\n");
                }
                head.put_slice(b"END\r\n");
            }
            other => other.head(head),
        }
        Encoded::default()
    }

    fn closes_on_error(&self) -> bool {
        false
    }
}

fn number<T: FromStr>(word: &str) -> T
where
    T::Err: std::fmt::Debug,
{
    word.parse().expect("written by the simulator")
}
