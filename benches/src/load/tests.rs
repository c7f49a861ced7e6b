use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;
use std::time::Duration;

use super::wire::{Echo, Wire};
use super::{Pace, Plan, Work, run};

fn plan<'a>(listener: &TcpListener, wire: &'a dyn Wire, work: Work) -> Plan<'a> {
    Plan {
        address: listener.local_addr().expect("an address"),
        wire,
        work,
        pace: Pace::Closed,
        connections: 1,
        body_bytes: 10,
        warm_up: Duration::ZERO,
        time: Duration::from_secs(60),
        operations: 50,
    }
}

/// Serves connections one after the other; before the answer to the request of that number it stands still.
fn serve(listener: TcpListener, connections: usize, stands_still_at: usize, pause: Duration) {
    let mut buffer = [0; 4096];
    let mut number = 0;
    for _ in 0..connections {
        let (mut stream, _) = listener.accept().expect("a client");
        while let Ok(bytes @ 1..) = stream.read(&mut buffer) {
            if number == stands_still_at {
                thread::sleep(pause);
            }
            number += 1;
            stream.write_all(&buffer[..bytes]).expect("the client is there");
        }
    }
}

#[test]
fn as_many_operations_as_were_wanted() {
    for (work, connections) in [(Work::Put, 1), (Work::ShortPut, 50)] {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let plan = plan(&listener, &Echo, work);
        let server =
            thread::spawn(move || serve(listener, connections, usize::MAX, Duration::ZERO));
        let outcome = run(&plan);
        assert_eq!((outcome.count, outcome.sent, outcome.latencies.len()), (50, 50, 50));
        server.join().expect("every connection was closed");
    }
}

#[test]
fn a_server_that_stands_still_is_charged_for_all_who_had_to_wait() {
    let pause = Duration::from_millis(200);
    // While it does, all 40 that are still to come are due, the last one 100 ms before it goes on.
    for (pace, least) in [(Pace::Closed, 1), (Pace::Open(500.0), 40)] {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let plan = Plan { pace, ..plan(&listener, &Echo, Work::Put) };
        let server = thread::spawn(move || serve(listener, 1, 10, pause));
        let latencies = run(&plan).latencies;
        let late = latencies.len() - latencies.count_between(0, 100_000_000);
        assert!(late >= least, "{pace:?}: {late}");
        server.join().expect("the connection was closed");
    }
}
